/**
 * A tiny llama checkpoint with random weights, as a GGUF file or only as an index. Small enough that a model runs in
 * milliseconds, shaped so that every width differs from every other.
 */

import type { Checkpoint, MetadataValue, TensorInfo } from '../../src/checkpoint/checkpoint.ts'
import type { GgufSpec, GgufTensor, GgufValue } from './gguf-writer.ts'
import { seededRandom } from './seeded-random.ts'

export interface TinyLlamaShape {
  readonly hiddenSize: number
  readonly numLayers: number
  readonly numHeads: number
  readonly numKvHeads: number
  readonly headDim: number
  readonly intermediateSize: number
  readonly vocabSize: number
  readonly contextLength: number
  readonly isTied: boolean
  readonly hasBiases: boolean
  readonly hasRopeFactors: boolean
  /** Of the matrices; vectors are F32. */
  readonly format: 'F32' | 'Q8_0' | 'Q4_1'
}

export const TINY_LLAMA: TinyLlamaShape = {
  hiddenSize: 96,
  numLayers: 3,
  numHeads: 6,
  numKvHeads: 2,
  headDim: 32,
  intermediateSize: 160,
  vocabSize: 320,
  contextLength: 512,
  isTied: true,
  hasBiases: false,
  hasRopeFactors: false,
  format: 'Q4_1',
}

const TYPES = { F32: 0, Q8_0: 8, Q4_1: 3 } as const
const EOS_TOKEN_ID = 2

/** Names and shapes, outermost dimension first. */
export function tinyLlamaTensors(shape: TinyLlamaShape): readonly [string, number[]][] {
  const { hiddenSize, numHeads, numKvHeads, headDim, intermediateSize, vocabSize } = shape
  const tensors: [string, number[]][] = [
    ['token_embd.weight', [vocabSize, hiddenSize]],
    ['output_norm.weight', [hiddenSize]],
  ]
  if (!shape.isTied) tensors.push(['output.weight', [vocabSize, hiddenSize]])
  if (shape.hasRopeFactors) tensors.push(['rope_freqs.weight', [headDim / 2]])
  for (let layer = 0; layer < shape.numLayers; layer++) {
    const block = `blk.${layer}`
    tensors.push(
      [`${block}.attn_norm.weight`, [hiddenSize]],
      [`${block}.attn_q.weight`, [numHeads * headDim, hiddenSize]],
      [`${block}.attn_k.weight`, [numKvHeads * headDim, hiddenSize]],
      [`${block}.attn_v.weight`, [numKvHeads * headDim, hiddenSize]],
      [`${block}.attn_output.weight`, [hiddenSize, numHeads * headDim]],
      [`${block}.ffn_norm.weight`, [hiddenSize]],
      [`${block}.ffn_gate.weight`, [intermediateSize, hiddenSize]],
      [`${block}.ffn_up.weight`, [intermediateSize, hiddenSize]],
      [`${block}.ffn_down.weight`, [hiddenSize, intermediateSize]],
    )
    if (!shape.hasBiases) continue
    tensors.push(
      [`${block}.attn_q.bias`, [numHeads * headDim]],
      [`${block}.attn_k.bias`, [numKvHeads * headDim]],
      [`${block}.attn_v.bias`, [numKvHeads * headDim]],
    )
  }
  return tensors
}

export function tinyLlamaMetadata(shape: TinyLlamaShape): [string, GgufValue][] {
  const u32 = (value: number): GgufValue => ({ type: 'u32', value })
  const f32 = (value: number): GgufValue => ({ type: 'f32', value })
  return [
    ['general.architecture', { type: 'string', value: 'llama' }],
    ['llama.block_count', u32(shape.numLayers)],
    ['llama.context_length', u32(shape.contextLength)],
    ['llama.embedding_length', u32(shape.hiddenSize)],
    ['llama.feed_forward_length', u32(shape.intermediateSize)],
    ['llama.attention.head_count', u32(shape.numHeads)],
    ['llama.attention.head_count_kv', u32(shape.numKvHeads)],
    ['llama.attention.key_length', u32(shape.headDim)],
    ['llama.attention.value_length', u32(shape.headDim)],
    ['llama.rope.freq_base', f32(10_000)],
    ['llama.attention.layer_norm_rms_epsilon', f32(1e-5)],
    ['tokenizer.ggml.eos_token_id', u32(EOS_TOKEN_ID)],
  ]
}

/** The whole file. The same seed gives the same bytes. */
export function tinyLlamaGguf(shape: TinyLlamaShape, seed: number): GgufSpec {
  const random = seededRandom(seed)
  const tensors = tinyLlamaTensors(shape).map(([name, dims]): GgufTensor => {
    const format = dims.length === 1 ? 'F32' : shape.format
    const values = new Float32Array(dims.reduce((product, extent) => product * extent, 1))
    // Norms near 1, factors from 1 on, everything else small around 0.
    const center = dims.length === 1 && !name.endsWith('.bias') ? 1 : 0
    const spread = name === 'rope_freqs.weight' ? 8 : 0.6
    for (let i = 0; i < values.length; i++) {
      values[i] = center + spread * (center === 1 ? random.next() : random.next() - 0.5)
    }
    return { name, dims: [...dims].reverse(), type: TYPES[format], data: encode(values, format) }
  })
  return { metadata: tinyLlamaMetadata(shape), tensors }
}

/** What the reader would give, without a file; no tensor has bytes. */
export function tinyLlamaCheckpoint(shape: TinyLlamaShape): Checkpoint & {
  metadata: Map<string, MetadataValue>
  tensors: Map<string, TensorInfo>
} {
  const file = '/nowhere/tiny.gguf'
  const metadata = new Map(
    tinyLlamaMetadata(shape).map(([key, value]): [string, MetadataValue] => {
      if (!('value' in value)) throw new Error('no arrays here')
      return [key, value.value as MetadataValue]
    }),
  )
  const tensors = new Map(
    tinyLlamaTensors(shape).map(([name, dims]): [string, TensorInfo] => [
      name,
      { name, format: 'F32', shape: dims, file, offset: 0, byteLength: 0 },
    ]),
  )
  return { kind: 'gguf', files: [file], metadata, tensors, totalTensorBytes: 0 }
}

function encode(values: Float32Array, format: TinyLlamaShape['format']): Buffer {
  if (format === 'F32') return Buffer.from(values.buffer)
  const blocks: Buffer[] = []
  for (let start = 0; start < values.length; start += 32) {
    const block = values.subarray(start, start + 32)
    blocks.push(format === 'Q8_0' ? q8Block(block) : q4Block(block))
  }
  return Buffer.concat(blocks)
}

/** f16 scale, 32 × i8. */
function q8Block(block: Float32Array): Buffer {
  const scale = Math.max(...block.map(Math.abs)) / 127
  const bytes = Buffer.alloc(34)
  bytes.writeUInt16LE(halfBits(scale), 0)
  block.forEach((value, i) => {
    bytes.writeInt8(Math.max(-127, Math.min(127, Math.round(value / scale))), 2 + i)
  })
  return bytes
}

/** f16 scale, f16 minimum, 16 bytes: low nibbles are weights 0…15, high ones 16…31. */
function q4Block(block: Float32Array): Buffer {
  const least = Math.min(...block)
  const scale = (Math.max(...block) - least) / 15
  const bytes = Buffer.alloc(20)
  bytes.writeUInt16LE(halfBits(scale), 0)
  bytes.writeUInt16LE(halfBits(least), 2)
  const nibble = (i: number) => Math.max(0, Math.min(15, Math.round((block[i]! - least) / scale)))
  for (let i = 0; i < 16; i++) bytes[4 + i] = nibble(i) | (nibble(i + 16) << 4)
  return bytes
}

/** Nearest f16 towards zero, for normal numbers; enough for scales. */
function halfBits(value: number): number {
  const bits = new DataView(new ArrayBuffer(4))
  bits.setFloat32(0, value)
  const whole = bits.getUint32(0)
  const exponent = ((whole >>> 23) & 0xff) - 112
  if (exponent <= 0) return 0
  return ((whole >>> 16) & 0x8000) | (exponent << 10) | ((whole >>> 13) & 0x3ff)
}
