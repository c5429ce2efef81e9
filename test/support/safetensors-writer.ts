/** Writes safetensors files and folders for tests, sound or wrong on purpose. */

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

export interface TensorSpec {
  readonly dtype?: string
  readonly shape: readonly number[]
  /** Default: zeros as long as dtype and shape say. */
  readonly data?: Buffer
}

const DTYPE_BYTES: Readonly<Record<string, number>> = {
  F32: 4,
  F16: 2,
  BF16: 2,
  I32: 4,
  I64: 8,
  U8: 1,
}

/** A file whose header is exactly this text. `length` lies about it. */
export function encodeRaw(header: string | Buffer, data: Buffer, length?: bigint): Buffer {
  const json = Buffer.from(header)
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(length ?? BigInt(json.length))
  return Buffer.concat([prefix, json, data])
}

/** A sound file, tensors in the order given. */
export function encodeSafetensors(
  tensors: Readonly<Record<string, TensorSpec>>,
  metadata: Readonly<Record<string, string>> | null = { format: 'pt' },
): Buffer {
  const header: Record<string, unknown> = metadata === null ? {} : { __metadata__: metadata }
  const parts: Buffer[] = []
  let end = 0
  for (const [name, { dtype = 'F32', shape, data }] of Object.entries(tensors)) {
    const numBytes = shape.reduce((product, extent) => product * extent, DTYPE_BYTES[dtype] ?? 1)
    const bytes = data ?? Buffer.alloc(numBytes)
    header[name] = { dtype, shape, data_offsets: [end, end + bytes.length] }
    end += bytes.length
    parts.push(bytes)
  }
  return encodeRaw(JSON.stringify(header), Buffer.concat(parts))
}

/** Numbers as F32. */
export function f32(values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length)
  for (const [index, value] of values.entries()) bytes.writeFloatLE(value, 4 * index)
  return bytes
}

/** What `encodeSafetensors` makes of a few tensors of every dense kind. */
export function smallSafetensors(): Buffer {
  return encodeSafetensors({
    'model.embed_tokens.weight': { dtype: 'BF16', shape: [8, 4] },
    'model.norm.weight': { dtype: 'F32', shape: [4], data: f32([1, 2, 3, 4]) },
    'lm_head.weight': { dtype: 'F16', shape: [8, 4] },
    scalar: { shape: [] },
    empty: { shape: [0, 4] },
  })
}

/** Write files of a folder; objects become JSON. */
export async function writeModelFolder(
  folder: string,
  files: Readonly<Record<string, Buffer | string | object>>,
): Promise<string> {
  await mkdir(folder, { recursive: true })
  for (const [name, content] of Object.entries(files)) {
    const isRaw = typeof content === 'string' || Buffer.isBuffer(content)
    await writeFile(join(folder, name), isRaw ? content : JSON.stringify(content))
  }
  return folder
}
