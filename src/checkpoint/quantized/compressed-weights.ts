/**
 * A module's weight as compressed-tensors stores it.
 *
 *   pack-quantized   M.weight_packed I32 [outputs, inputs · bits / 32 rounded up]   a stream of bits along each row, the
 *                                                                                   number plus 2^(bits − 1)
 *                    M.weight_shape  I64 or I32 [2]                                 outputs, inputs
 *                    M.weight_zero_point I32, a stream down each column of groups
 *   others           M.weight I8 or F8_E4M3 [outputs, inputs]     M.weight_zero_point I8, as the scale
 *   all              M.weight_scale [outputs, groups], [outputs, 1], [1], or one for each block
 *                    M.weight_g_idx I32 [inputs], group of each input; −1: in order
 *
 * Source: compressed-tensors 0.20.1, `compressors/pack_quantized`, `compressors/naive_quantized`.
 */

import type { Companions } from './companions.ts'
import { quantizedTensorError } from './companions.ts'
import type { CompressedFormat } from './compressed-tensors.ts'
import { FLOATS, type QuantizedWeight, type ReadBytes } from './scheme.ts'
import {
  gridScales,
  PLAIN_FIELDS,
  type StoredFields,
  type StoredScales,
  type StoredTensor,
} from './stored-quantization.ts'

export interface CompressedGroup {
  readonly format: CompressedFormat
  readonly bits: number
  readonly isFloat: boolean
  readonly isSymmetric: boolean
  readonly strategy: 'tensor' | 'channel' | 'group' | 'block'
  readonly groupSize: number
  readonly block: readonly [rows: number, columns: number] | null
}

type Shape = readonly [outputs: number, inputs: number]

export async function compressedWeight(
  module: string,
  group: CompressedGroup,
  tensor: StoredTensor,
  companions: Companions,
  read: ReadBytes,
): Promise<QuantizedWeight> {
  const isPacked = group.format === 'pack-quantized'
  const shape = isPacked
    ? await packedShape(module, group.bits, tensor, companions, read)
    : plainShape(group, tensor, companions)
  const [outputs, inputs] = shape
  // The scales of activations, which are computed in Ingot's own way.
  for (const name of ['input_scale', 'input_zero_point']) {
    const shapes = [[], [1]]
    companions.optional(`${module}.${name}`, { dtypes: [...FLOATS, 'I8', 'F8_E4M3'], shapes })
  }
  const { scales, perGroup } = readScales(module, group, shape, tensor, companions)
  const groups = Math.ceil(inputs / perGroup)
  const bits = isPacked ? group.bits : 8
  const codes = { ...PLAIN_FIELDS, tensor, bits, isSigned: !isPacked && !group.isFloat }
  const zeros = group.isSymmetric
    ? null
    : readZeros(module, group, [outputs, groups], tensor, companions)
  return {
    name: `${module}.weight`,
    format: group.isFloat ? 'CT_FP8' : `CT_INT${group.bits as 2 | 3 | 4 | 5 | 6 | 7 | 8}`,
    shape,
    quantization: {
      codes,
      values: group.isFloat ? 'float8' : 'integers',
      zeros,
      table: null,
      scales,
      group: perGroup,
      groupOfInput: await readOrder(module, inputs, companions, read),
    },
  }
}

/** From `weight_shape`, since the words' number does not say how many inputs the last one holds. */
async function packedShape(
  module: string,
  bits: number,
  tensor: StoredTensor,
  companions: Companions,
  read: ReadBytes,
): Promise<Shape> {
  const name = `${module}.weight_shape`
  const stored = companions.take(name, tensor, { dtypes: ['I64', 'I32'], shapes: [[2]] })
  const bytes = await read(stored, 16)
  const [outputs = 0n, inputs = 0n] = [0, 1].map((at) =>
    stored.dtype === 'I64' ? bytes.readBigInt64LE(8 * at) : BigInt(bytes.readInt32LE(4 * at)),
  )
  const [rows = 0, words = 0] = tensor.shape
  const needed = (inputs * BigInt(bits) + 31n) / 32n
  if (inputs > 0n && outputs === BigInt(rows) && needed === BigInt(words)) {
    companions.take(tensor.name, tensor, { dtypes: ['I32'], shapes: [[rows, words]] })
    return [rows, Number(inputs)]
  }
  const expected = `the shape of [${rows}, ${words}] words of ${bits} bits a number`
  throw quantizedTensorError(stored.file, name, expected, `[${outputs}, ${inputs}]`)
}

function plainShape(group: CompressedGroup, tensor: StoredTensor, companions: Companions): Shape {
  const dtypes = [group.isFloat ? 'F8_E4M3' : 'I8']
  const { shape } = companions.take(tensor.name, tensor, { dtypes, shapes: [[null, null]] })
  return [shape[0] ?? 0, shape[1] ?? 0]
}

function readScales(
  module: string,
  { strategy, groupSize, block }: CompressedGroup,
  [outputs, inputs]: Shape,
  codes: StoredTensor,
  companions: Companions,
): { scales: StoredScales; perGroup: number } {
  const take = (...shapes: number[][]) =>
    companions.take(`${module}.weight_scale`, codes, { dtypes: FLOATS, shapes })
  switch (strategy) {
    case 'tensor': {
      const scales = gridScales(take([], [1], [1, 1]), 1, { rowsPerScale: outputs })
      return { scales, perGroup: inputs }
    }
    case 'channel':
      return { scales: gridScales(take([outputs, 1], [outputs]), 1), perGroup: inputs }
    case 'group': {
      const groups = Math.ceil(inputs / groupSize)
      return { scales: gridScales(take([outputs, groups]), groups), perGroup: groupSize }
    }
    case 'block': {
      const [rows, columns] = block ?? [1, 1]
      const groups = Math.ceil(inputs / columns)
      const stored = take([Math.ceil(outputs / rows), groups])
      return { scales: gridScales(stored, groups, { rowsPerScale: rows }), perGroup: columns }
    }
  }
}

function readZeros(
  module: string,
  { format, bits, strategy }: CompressedGroup,
  [outputs, groups]: readonly [number, number],
  codes: StoredTensor,
  companions: Companions,
): StoredFields {
  const name = `${module}.weight_zero_point`
  const isGrid = strategy === 'group' || strategy === 'channel'
  if (!isGrid) {
    throw quantizedTensorError(codes.file, name, 'zero points of rows or groups', strategy)
  }
  if (format === 'pack-quantized') {
    const words = Math.ceil((outputs * bits) / 32)
    const tensor = companions.take(name, codes, { dtypes: ['I32'], shapes: [[words, groups]] })
    return { ...PLAIN_FIELDS, tensor, bits, packing: 'columns' }
  }
  const shapes = groups === 1 ? [[outputs, 1], [outputs]] : [[outputs, groups]]
  const tensor = companions.take(name, codes, { dtypes: ['I8'], shapes })
  return { ...PLAIN_FIELDS, tensor, bits: 8, isSigned: true }
}

/** Files before 2026 may have it; −1 in it means that it was never set. */
async function readOrder(
  module: string,
  inputs: number,
  companions: Companions,
  read: ReadBytes,
): Promise<StoredTensor | null> {
  const wanted = { dtypes: ['I32'], shapes: [[inputs]] }
  const order = companions.optional(`${module}.weight_g_idx`, wanted)
  if (order === undefined) return null
  const bytes = await read(order, order.byteLength)
  for (let at = 0; at < inputs; at++) {
    if (bytes.readInt32LE(4 * at) !== -1) return order
  }
  return null
}
