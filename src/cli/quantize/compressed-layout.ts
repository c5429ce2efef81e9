/**
 * The layout `pack-quantized` of compressed-tensors, as transformers reads it. Pure.
 *
 *   weight_packed      int32 [rows, k · bits / 32]              code j of a row at bit (j mod per) · bits of word j / per
 *   weight_scale       bf16 [rows, k / group]
 *   weight_zero_point  int32 [rows · bits / 32 rounded up, k / group], packed along the rows; absent when symmetric
 *   weight_shape       int64 [2]
 *
 * Codes are unsigned, value = (code − zero) · scale; the readers take 2^(bits − 1) off both. Source: compressed-tensors,
 * `pack_to_int32` and `PackedQuantizationCompressor`.
 */

import type { NativeQuantizedMatrix } from '../../../native/binding.ts'

export interface Recipe {
  readonly bits: 4 | 8
  readonly group: number
  readonly isSymmetric: boolean
}

export interface StoredTensor {
  readonly name: string
  readonly dtype: 'I32' | 'I64' | 'BF16' | 'F16' | 'F32'
  readonly shape: readonly number[]
}

/** Names, types and shapes that a matrix `[rows, k]` is stored as. @param module - its name without `.weight` */
export function layoutOf(
  module: string,
  [rows, k]: readonly [rows: number, k: number],
  { bits, group, isSymmetric }: Recipe,
): readonly StoredTensor[] {
  const words = Math.ceil((k * bits) / 32)
  const groups = k / group
  const zeros: StoredTensor = {
    name: `${module}.weight_zero_point`,
    dtype: 'I32',
    shape: [Math.ceil((rows * bits) / 32), groups],
  }
  return [
    { name: `${module}.weight_packed`, dtype: 'I32', shape: [rows, words] },
    { name: `${module}.weight_scale`, dtype: 'BF16', shape: [rows, groups] },
    ...(isSymmetric ? [] : [zeros]),
    { name: `${module}.weight_shape`, dtype: 'I64', shape: [2] },
  ]
}

/** Bytes of the tensors that `layoutOf` names, in the same order. */
export function packMatrix(
  { codes, scales, zeros }: NativeQuantizedMatrix,
  [rows, k]: readonly [rows: number, k: number],
  { bits, group, isSymmetric }: Recipe,
): readonly Buffer[] {
  const groups = k / group
  const shape = Buffer.alloc(16)
  shape.writeBigInt64LE(BigInt(rows), 0)
  shape.writeBigInt64LE(BigInt(k), 8)
  const packedZeros = isSymmetric ? [] : [packDown(zeros, rows, groups, bits)]
  return [packAcross(codes, rows, k, bits), bf16(scales), ...packedZeros, shape]
}

/** Along each row. */
function packAcross(codes: Uint8Array, rows: number, width: number, bits: number): Buffer {
  const perWord = 32 / bits
  const words = Math.ceil(width / perWord)
  const out = Buffer.alloc(rows * words * 4)
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < width; column++) {
      const bit = (column % perWord) * bits
      const at = (row * words + Math.floor(column / perWord)) * 4 + (bit >> 3)
      out[at] = (out[at] ?? 0) | ((codes[row * width + column] ?? 0) << (bit & 7))
    }
  }
  return out
}

/** Along each column. */
function packDown(codes: Uint8Array, rows: number, width: number, bits: number): Buffer {
  const perWord = 32 / bits
  const out = Buffer.alloc(Math.ceil(rows / perWord) * width * 4)
  for (let row = 0; row < rows; row++) {
    const bit = (row % perWord) * bits
    for (let column = 0; column < width; column++) {
      const at = (Math.floor(row / perWord) * width + column) * 4 + (bit >> 3)
      out[at] = (out[at] ?? 0) | ((codes[row * width + column] ?? 0) << (bit & 7))
    }
  }
  return out
}

/** Rounded to nearest, ties to even. */
export function bf16(values: Float32Array): Buffer {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length)
  const out = new Uint16Array(values.length)
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? 0
    out[at] = (word + 0x7fff + ((word >>> 16) & 1)) >>> 16
  }
  return Buffer.from(out.buffer)
}

/** `quantization_config` of config.json. @param ignore - linear modules that stay as they are */
export function quantizationConfig(
  { bits, group, isSymmetric }: Recipe,
  ignore: readonly string[],
): Readonly<Record<string, unknown>> {
  const weights = {
    num_bits: bits,
    type: 'int',
    symmetric: isSymmetric,
    strategy: 'group',
    group_size: group,
    dynamic: false,
    actorder: null,
    block_structure: null,
    observer: 'minmax',
    observer_kwargs: {},
  }
  return {
    quant_method: 'compressed-tensors',
    format: 'pack-quantized',
    quantization_status: 'compressed',
    global_compression_ratio: null,
    kv_cache_scheme: null,
    ignore,
    config_groups: {
      group_0: { targets: ['Linear'], weights, input_activations: null, output_activations: null },
    },
  }
}
