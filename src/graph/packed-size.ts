/**
 * Bytes that a matrix takes once it is packed: tiles of 32 outputs, as `native/kernels/src/packed_linear.rs` lays them
 * out. For planning memory; a test holds it against what the addon says.
 */

import { TENSOR_FORMATS, type TensorFormat } from '../base/tensor-format.ts'
import type { TensorInfo } from '../checkpoint/checkpoint.ts'

const TILE_COLUMNS = 32
const BLOCK = 32
/** A cache line: each part is padded to whole ones. */
const LINE = 64

/** Bytes of a block of 32 inputs and 32 outputs, where they are not those of the stored blocks. */
const BLOCK_BYTES: Partial<Readonly<Record<TensorFormat, number>>> = {
  Q4_0: 512 + 64,
  Q4_1: 512 + 128,
  Q5_0: 1024 + 64, // packed as bytes
  Q8_0: 1024 + 64,
}

export function packedBytes(format: TensorFormat, rows: number, width: number): number {
  const tiles = Math.ceil(rows / TILE_COLUMNS)
  const { blockWeights, blockBytes } = TENSOR_FORMATS[format]
  const known = BLOCK_BYTES[format]
  const tileBytes =
    known === undefined
      ? (width / blockWeights) * blockBytes * TILE_COLUMNS
      : (width / BLOCK) * known
  return Math.ceil((tiles * tileBytes) / LINE) * LINE
}

/**
 * Of a quantized weight whose codes are kept, as `native/kernels/src/grouped.rs` lays them out, at most: a scale of f32 and
 * a zero point for each group, and the order of inputs, where they are stored.
 */
export function quantizedBytes(
  { codes, zeros, values, group, groupOfInput }: NonNullable<TensorInfo['quantization']>,
  rows: number,
  width: number,
): number {
  if (width % BLOCK !== 0) return packedBytes('F32', rows, width)
  const isNibble = codes.bits <= 4
  const isWhole = group % BLOCK === 0 || group >= width
  if (!isWhole && groupOfInput === null) return packedBytes('F32', rows, width)
  const groups = isWhole ? Math.ceil(width / group) : width / BLOCK
  const scaleBytes = groups * TILE_COLUMNS * (zeros === null ? 4 : 5)
  const table = values === 'table' ? LINE : 0
  const tileBytes = (width * TILE_COLUMNS) / (isNibble ? 2 : 1) + scaleBytes + table
  const order = groupOfInput === null ? 0 : width * 4
  return Math.ceil(rows / TILE_COLUMNS) * Math.ceil(tileBytes / LINE) * LINE + order
}
