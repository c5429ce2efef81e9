/** Reads the few small F32 tensors whose values a graph is built from. Touches only their bytes. */

import { open } from 'node:fs/promises'
import type { TensorInfo } from '../checkpoint/checkpoint.ts'
import { workerError } from './errors.ts'

/** Far above any table of frequencies; a definition that asks for more asks for the wrong tensor. */
const MAX_CONSTANT_BYTES = 1 << 20

/** @returns values by tensor name. @throws ServingError WORKER_BAD_CONSTANT */
export async function readConstants(
  tensors: readonly TensorInfo[],
): Promise<ReadonlyMap<string, Float32Array>> {
  const constants = new Map<string, Float32Array>()
  for (const tensor of tensors) constants.set(tensor.name, await readConstant(tensor))
  return constants
}

async function readConstant(tensor: TensorInfo): Promise<Float32Array> {
  const { byteLength, offset, file, format } = tensor
  if (format !== 'F32' || byteLength > MAX_CONSTANT_BYTES) {
    throw bad(
      tensor,
      `F32 values of at most ${MAX_CONSTANT_BYTES} bytes`,
      `${byteLength} bytes of ${format}`,
    )
  }
  const bytes = Buffer.alloc(byteLength)
  const handle = await open(file, 'r')
  try {
    const { bytesRead } = await handle.read(bytes, 0, byteLength, offset)
    if (bytesRead !== byteLength) throw bad(tensor, `${byteLength} bytes`, `${bytesRead}`)
  } finally {
    await handle.close()
  }
  const values = new Float32Array(byteLength / 4)
  for (let index = 0; index < values.length; index++) {
    const value = bytes.readFloatLE(4 * index)
    // Each divides a frequency: zero, negative or no number would poison every position.
    if (!(value > 0 && value < Number.POSITIVE_INFINITY)) {
      throw bad(tensor, 'finite values above 0', `${value}`)
    }
    values[index] = value
  }
  return values
}

function bad({ name, file, offset }: TensorInfo, expected: string, got: string): Error {
  return workerError('WORKER_BAD_CONSTANT', {
    details: { file, tensor: name, offset, expected, got },
  })
}
