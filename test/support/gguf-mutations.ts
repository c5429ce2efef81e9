/** Seeded damage to checkpoint files, and what must hold when a damaged file is opened. */

import { expect } from 'vitest'
import { ServingError } from '../../src/base/errors.ts'
import type { OpenedCheckpoint, TensorInfo } from '../../src/checkpoint/checkpoint.ts'
import { openCheckpoint } from '../../src/checkpoint/open-checkpoint.ts'
import { tensorsOf } from '../../src/checkpoint/quantized/logical-tensors.ts'
import { seededRandom } from './seeded-random.ts'

const TIME_LIMIT_MS = 2000
const INTERESTING = [0n, 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]

/** The same mutation for the same seed. */
export function mutate(original: Buffer, seed: number): Buffer {
  const random = seededRandom(seed)
  let bytes = Buffer.from(original)
  const numEdits = 1 + random.below(4)
  for (let edit = 0; edit < numEdits; edit++) {
    const at = random.below(bytes.length - 8)
    switch (random.below(6)) {
      case 0:
        bytes[at] = random.below(256)
        break
      case 1:
        bytes[at] = (bytes[at] as number) ^ (1 << random.below(8))
        break
      case 2:
        bytes.writeBigUInt64LE(INTERESTING[random.below(INTERESTING.length)] as bigint, at)
        break
      case 3:
        bytes.writeUInt32LE(random.below(2 ** 32), at)
        break
      case 4:
        bytes = Buffer.from(bytes.subarray(0, Math.max(16, at)))
        break
      default: {
        const length = random.below(64)
        const insertion = bytes.subarray(at, at + length)
        bytes = Buffer.concat([bytes.subarray(0, at), insertion, bytes.subarray(at)])
      }
    }
  }
  return bytes
}

/** Whatever was loaded must be inside the file. */
function checkLoaded({ tensors }: OpenedCheckpoint, fileBytes: number): void {
  type Range = Pick<TensorInfo, 'file' | 'offset' | 'byteLength'>
  const stored = [...tensors.values()].flatMap((tensor): readonly Range[] =>
    tensor.quantization === undefined ? [tensor] : tensorsOf(tensor.quantization),
  )
  const ranges = stored.sort((a, b) => a.offset - b.offset)
  const ends = new Map<string, number>()
  for (const { file, offset, byteLength } of ranges) {
    expect(offset).toBeGreaterThanOrEqual(ends.get(file) ?? 0)
    ends.set(file, offset + byteLength)
    expect(offset + byteLength).toBeLessThanOrEqual(fileBytes)
  }
}

/**
 * Open a mutated file: it must load or end in a `ServingError`, and soon.
 *
 * @returns whether it loaded
 */
export async function openMutation(
  path: string,
  fileBytes: number,
  seed: number,
): Promise<boolean> {
  const start = performance.now()
  let loaded = false
  try {
    checkLoaded(await openCheckpoint(path), fileBytes)
    loaded = true
  } catch (error) {
    if (!(error instanceof ServingError)) throw new Error(`seed ${seed}`, { cause: error })
    if (error.message.includes('{')) expect(error.message, `seed ${seed}`).not.toMatch(/\{\w+\}/)
  }
  expect(performance.now() - start, `milliseconds of seed ${seed}`).toBeLessThan(TIME_LIMIT_MS)
  return loaded
}

export function heldBytes(): number {
  const { heapUsed, external, arrayBuffers } = process.memoryUsage()
  return heapUsed + Math.max(external, arrayBuffers)
}
