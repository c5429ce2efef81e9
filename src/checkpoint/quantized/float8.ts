/**
 * `quant_method: fp8`, as DeepSeek-V3, Qwen3-FP8 and vLLM write it: E4M3 weights with scales.
 *
 *   M.weight F8_E4M3 [outputs, inputs]
 *   M.weight_scale_inv [outputs / rows, inputs / columns]   of `weight_block_size`; multiplied, whatever its name says
 *   M.weight_scale     of the tensor, or of each output, where there are no blocks
 *
 * Activations: `activation_scheme` says what others compute them in; weights are the same, and Ingot multiplies them with
 * f32. Source: transformers 5, `quantizers/quantizer_finegrained_fp8.py`, `integrations/finegrained_fp8.py`.
 */

import type { Companions } from './companions.ts'
import type { Members } from './members.ts'
import { FLOATS, moduleOf, type QuantizedWeight, type Scheme } from './scheme.ts'
import { gridScales, PLAIN_FIELDS, type StoredTensor } from './stored-quantization.ts'

/** Modules that are not quantized have tensors that say so. */
const NOT_OF_WEIGHTS: readonly string[] = [
  'ignored_layers',
  'modules_to_not_convert',
  'quant_method',
]

type Block = readonly [rows: number, columns: number]

export function readFloat8(members: Members): Scheme {
  members.choice('fmt', ['e4m3', 'float8_e4m3fn'], 'e4m3')
  members.choice('activation_scheme', ['dynamic', 'static'], 'dynamic')
  // Rounds activations' scales; those of the weights are powers of two in the file already.
  members.choice('scale_fmt', ['ue8m0', 'float'], 'float')
  const block = readBlock(members)
  members.refuseOthers(NOT_OF_WEIGHTS)
  const of = block === null ? 'tensor or row' : `block of ${block.join('×')}`
  return {
    description: `fp8 (E4M3), a scale a ${of}`,
    weightOf(tensor, companions) {
      const module = moduleOf(tensor.name, '.weight')
      if (module === null || tensor.dtype !== 'F8_E4M3') return null
      for (const name of ['input_scale', 'activation_scale']) {
        companions.optional(`${module}.${name}`, { dtypes: FLOATS, shapes: [[], [1]] })
      }
      return weightOf(module, block, tensor, companions)
    },
  }
}

function readBlock(members: Members): Block | null {
  const value = members.value('weight_block_size')
  if (value === undefined) return null
  const isExtent = (extent: unknown): extent is number =>
    Number.isInteger(extent) && (extent as number) > 0 && (extent as number) <= 1 << 20
  if (Array.isArray(value) && value.length === 2 && value.every(isExtent)) {
    return [value[0] as number, value[1] as number]
  }
  throw members.refusal('weight_block_size', value, 'two whole numbers')
}

function weightOf(
  module: string,
  block: Block | null,
  codes: StoredTensor,
  companions: Companions,
): QuantizedWeight {
  companions.take(codes.name, codes, { dtypes: ['F8_E4M3'], shapes: [[null, null]] })
  const [outputs = 0, inputs = 0] = codes.shape
  const [rows, columns] = block ?? [1, inputs]
  const groups = Math.ceil(inputs / columns)
  const name = `${module}.weight_scale${block === null ? '' : '_inv'}`
  const shapes =
    block === null
      ? [[], [1], [1, 1], [outputs], [outputs, 1]]
      : [[Math.ceil(outputs / rows), groups]]
  const scales = companions.take(name, codes, { dtypes: [...FLOATS, 'F8_E8M0'], shapes })
  const isOne = block === null && scales.shape.every((extent) => extent === 1)
  const rowsPerScale = isOne ? outputs : rows
  return {
    name: codes.name,
    format: 'FP8',
    shape: [outputs, inputs],
    quantization: {
      ...plainFloat8(codes, inputs),
      scales: gridScales(scales, groups, { rowsPerScale }),
      group: columns,
    },
  }
}

/** E4M3 numbers as they are, without scales. */
export function plainFloat8(codes: StoredTensor, inputs: number): QuantizedWeight['quantization'] {
  return {
    codes: { ...PLAIN_FIELDS, tensor: codes, bits: 8 },
    values: 'float8',
    zeros: null,
    table: null,
    scales: gridScales(null, 1),
    group: inputs,
    groupOfInput: null,
  }
}
