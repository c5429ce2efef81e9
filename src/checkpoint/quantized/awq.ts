/**
 * AWQ (arXiv:2306.00978) as AutoAWQ writes it, 4 bits.
 *
 *   gemm  M.qweight I32 [inputs, outputs / 8]   M.qzeros I32 [groups, outputs / 8]   M.scales [groups, outputs]
 *         eight outputs a word, in the order 0 2 4 6 1 3 5 7
 *   gemv  M.qweight I32 [outputs, inputs / 8]   M.qzeros I32 [outputs, W]            M.scales [outputs, 8 · W]
 *         in ascending order; W holds the groups, and more where a group has less than 128 inputs
 *
 * Source: autoawq 0.2.9, `utils/packing_utils.py` and `modules/linear/gemv.py`.
 */

import type { Companions } from './companions.ts'
import type { Members } from './members.ts'
import { FLOATS, moduleOf, type QuantizedWeight, type Scheme } from './scheme.ts'
import { gridScales, PLAIN_FIELDS, type StoredTensor } from './stored-quantization.ts'

/** How the weights were found, and what other runtimes note down. `modules_to_not_convert` have tensors that say so. */
const NOT_OF_WEIGHTS: readonly string[] = [
  'backend',
  'do_fuse',
  'exllama_config',
  'fuse_max_seq_len',
  'modules_to_fuse',
  'modules_to_not_convert',
  'quant_method',
]

const BITS = 4
const PER_WORD = 8

export function readAwq(members: Members): Scheme {
  const older = members.value('q_group_size') === undefined ? 'group_size' : 'q_group_size'
  const group = members.integer(older, -1, 1 << 20, 128)
  if (group === 0) throw members.refusal(older, group, '-1 or above 0')
  const bitsKey = members.value('w_bit') === undefined ? 'bits' : 'w_bit'
  members.integer(bitsKey, BITS, BITS, BITS)
  if (!members.flag('zero_point', true)) throw members.refusal('zero_point', false, 'true')
  const named = members.value('version') === undefined ? 'format' : 'version'
  const layout = members.choice(named, ['gemm', 'gemv'], 'gemm')
  members.refuseOthers(NOT_OF_WEIGHTS)
  const groups = group === -1 ? 'one group a row' : `groups of ${group}`
  return {
    description: `AWQ (${layout}), ${BITS} bits, ${groups}`,
    weightOf(tensor, companions) {
      const module = moduleOf(tensor.name, '.qweight')
      if (module === null) return null
      companions.take(tensor.name, tensor, { dtypes: ['I32'], shapes: [[null, null]] })
      return layout === 'gemm'
        ? gemm(module, group, companions, tensor)
        : gemv(module, group, companions, tensor)
    },
  }
}

function gemm(
  module: string,
  group: number,
  companions: Companions,
  codes: StoredTensor,
): QuantizedWeight {
  const [inputs = 0, words = 0] = codes.shape
  const outputs = words * PER_WORD
  const perGroup = group === -1 ? inputs : group
  const groups = Math.ceil(inputs / perGroup)
  const zeros = companions.take(`${module}.qzeros`, codes, {
    dtypes: ['I32'],
    shapes: [[groups, words]],
  })
  const scales = companions.take(`${module}.scales`, codes, {
    dtypes: FLOATS,
    shapes: [[groups, outputs]],
  })
  const fields = { ...PLAIN_FIELDS, bits: BITS, order: 'awq', isOutputFirst: false } as const
  return {
    name: `${module}.weight`,
    format: 'AWQ_INT4',
    shape: [outputs, inputs],
    quantization: {
      codes: { ...fields, tensor: codes },
      values: 'integers',
      zeros: { ...fields, tensor: zeros },
      table: null,
      scales: gridScales(scales, outputs, { isOutputFirst: false }),
      group: perGroup,
      groupOfInput: null,
    },
  }
}

function gemv(
  module: string,
  group: number,
  companions: Companions,
  codes: StoredTensor,
): QuantizedWeight {
  const [outputs = 0, words = 0] = codes.shape
  const inputs = words * PER_WORD
  const perGroup = group === -1 ? inputs : group
  const zeroWords = gemvZeroWords(Math.floor(inputs / perGroup), perGroup)
  const zeros = companions.take(`${module}.qzeros`, codes, {
    dtypes: ['I32'],
    shapes: [[outputs, zeroWords]],
  })
  const columns = zeroWords * PER_WORD
  const scales = companions.take(`${module}.scales`, codes, {
    dtypes: FLOATS,
    shapes: [[outputs, columns]],
  })
  const fields = { ...PLAIN_FIELDS, bits: BITS }
  return {
    name: `${module}.weight`,
    format: 'AWQ_INT4',
    shape: [outputs, inputs],
    quantization: {
      codes: { ...fields, tensor: codes },
      values: 'integers',
      zeros: { ...fields, tensor: zeros },
      table: null,
      scales: gridScales(scales, columns),
      group: perGroup,
      groupOfInput: null,
    },
  }
}

/** AutoAWQ's `calculate_zeros_width`. */
function gemvZeroWords(groups: number, perGroup: number): number {
  let multiple = 1
  if (perGroup < 128) multiple = perGroup < 64 ? 4 : 2
  const words = Math.ceil(groups / PER_WORD)
  return Math.ceil(words / multiple) * multiple
}
