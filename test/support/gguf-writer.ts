/**
 * Writes small GGUF files, right ones and wrong ones. Independent of the reader, so that the two check each other.
 * Numbers that the format stores (counts, lengths, offsets) can be overridden one by one to make a lie of them.
 */

import { writeFile } from 'node:fs/promises'

/** A GGUF value with its type spelled out, because the type is what a test is about. */
export type GgufValue =
  | { type: 'u8' | 'i8' | 'u16' | 'i16' | 'u32' | 'i32' | 'f32' | 'f64'; value: number }
  | { type: 'u64' | 'i64'; value: bigint }
  | { type: 'bool'; value: boolean | number }
  | { type: 'string'; value: string | Buffer; length?: bigint }
  | { type: 'array'; of: GgufType; values: readonly GgufValue[]; count?: bigint }
  | { type: 'raw'; number: number; bytes: Buffer }

export type GgufType = keyof typeof TYPE_NUMBERS

const TYPE_NUMBERS = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  array: 9,
  u64: 10,
  i64: 11,
  f64: 12,
} as const

export interface GgufTensor {
  readonly name: string | Buffer
  /** Innermost dimension first, as the file has it. */
  readonly dims: readonly (number | bigint)[]
  /** ggml's type number. */
  readonly type: number
  readonly data?: Buffer
  /** Instead of the place where `data` is put. */
  readonly offset?: bigint
  readonly numDims?: number
}

export interface GgufSpec {
  readonly magic?: string
  readonly version?: number
  readonly numTensors?: bigint
  readonly numKeyValues?: bigint
  readonly metadata?: readonly (readonly [key: string, value: GgufValue])[]
  readonly tensors?: readonly GgufTensor[]
  readonly alignment?: number
}

/** The bytes of a GGUF file. */
export function encodeGguf(spec: GgufSpec): Buffer {
  const metadata = spec.metadata ?? []
  const tensors = spec.tensors ?? []
  const alignment = spec.alignment ?? 32
  const parts: Buffer[] = [
    Buffer.from(spec.magic ?? 'GGUF', 'latin1'),
    u32(spec.version ?? 3),
    u64(spec.numTensors ?? BigInt(tensors.length)),
    u64(spec.numKeyValues ?? BigInt(metadata.length)),
  ]
  for (const [key, value] of metadata) parts.push(text(key), u32(typeNumber(value)), payload(value))
  let dataBytes = 0
  const data: Buffer[] = []
  for (const tensor of tensors) {
    const bytes = tensor.data ?? Buffer.alloc(0)
    parts.push(
      text(tensor.name),
      u32(tensor.numDims ?? tensor.dims.length),
      ...tensor.dims.map((extent) => u64(BigInt(extent))),
      u32(tensor.type),
      u64(tensor.offset ?? BigInt(dataBytes)),
    )
    const padded = padTo(bytes, alignment)
    data.push(padded)
    dataBytes += padded.length
  }
  return Buffer.concat([padTo(Buffer.concat(parts), alignment), ...data])
}

export async function writeGguf(path: string, spec: GgufSpec): Promise<Buffer> {
  const bytes = encodeGguf(spec)
  await writeFile(path, bytes)
  return bytes
}

/** A file with every value type, nested arrays, and tensors of a dense and two block formats. */
export function smallGguf(): GgufSpec {
  const tokens = Array.from({ length: 40 }, (_, i) => `Ġtoken${i}`)
  return {
    metadata: [
      ['general.architecture', { type: 'string', value: 'llama' }],
      ['general.alignment', { type: 'u32', value: 32 }],
      ['llama.block_count', { type: 'u32', value: 2 }],
      ['small.u8', { type: 'u8', value: 200 }],
      ['small.i8', { type: 'i8', value: -100 }],
      ['small.u16', { type: 'u16', value: 60_000 }],
      ['small.i16', { type: 'i16', value: -30_000 }],
      ['small.i32', { type: 'i32', value: -5 }],
      ['small.f32', { type: 'f32', value: 0.5 }],
      ['small.f64', { type: 'f64', value: 1e-9 }],
      ['small.bool', { type: 'bool', value: true }],
      ['small.u64', { type: 'u64', value: 2n ** 63n + 1n }],
      ['small.i64', { type: 'i64', value: -7n }],
      ['tokenizer.ggml.tokens', strings(tokens)],
      [
        'small.nested',
        {
          type: 'array',
          of: 'array',
          values: [strings(['a', 'b']), { type: 'array', of: 'i32', values: [int(1), int(2)] }],
        },
      ],
    ],
    tensors: [
      { name: 'token_embd.weight', dims: [64, 40], type: 8, data: Buffer.alloc(40 * 68, 1) },
      { name: 'blk.0.attn_q.weight', dims: [64, 64], type: 3, data: Buffer.alloc(64 * 40, 2) },
      { name: 'output_norm.weight', dims: [64], type: 0, data: Buffer.alloc(256, 3) },
    ],
  }
}

export function strings(values: readonly string[]): GgufValue {
  return {
    type: 'array',
    of: 'string',
    values: values.map((value) => ({ type: 'string', value })),
  }
}

function int(value: number): GgufValue {
  return { type: 'i32', value }
}

function typeNumber(value: GgufValue): number {
  return value.type === 'raw' ? value.number : TYPE_NUMBERS[value.type]
}

function payload(value: GgufValue): Buffer {
  const bytes = Buffer.alloc(8)
  switch (value.type) {
    case 'raw':
      return value.bytes
    case 'string':
      return text(value.value, value.length)
    case 'array':
      return Buffer.concat([
        u32(TYPE_NUMBERS[value.of]),
        u64(value.count ?? BigInt(value.values.length)),
        ...value.values.map(payload),
      ])
    case 'bool':
      return Buffer.from([Number(value.value)])
    case 'u8':
      return bytes.subarray(0, bytes.writeUInt8(value.value))
    case 'i8':
      return bytes.subarray(0, bytes.writeInt8(value.value))
    case 'u16':
      return bytes.subarray(0, bytes.writeUInt16LE(value.value))
    case 'i16':
      return bytes.subarray(0, bytes.writeInt16LE(value.value))
    case 'u32':
      return bytes.subarray(0, bytes.writeUInt32LE(value.value))
    case 'i32':
      return bytes.subarray(0, bytes.writeInt32LE(value.value))
    case 'f32':
      return bytes.subarray(0, bytes.writeFloatLE(value.value))
    case 'f64':
      return bytes.subarray(0, bytes.writeDoubleLE(value.value))
    case 'u64':
      return bytes.subarray(0, bytes.writeBigUInt64LE(value.value))
    case 'i64':
      return bytes.subarray(0, bytes.writeBigInt64LE(value.value))
  }
}

function text(value: string | Buffer, length?: bigint): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([u64(length ?? BigInt(bytes.length)), bytes])
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(value)
  return bytes
}

function padTo(bytes: Buffer, alignment: number): Buffer {
  const padding = (alignment - (bytes.length % alignment)) % alignment
  return Buffer.concat([bytes, Buffer.alloc(padding)])
}
