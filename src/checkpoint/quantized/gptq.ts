/**
 * GPTQ (arXiv:2210.17323) as AutoGPTQ and GPTQModel write it, 2, 3, 4 and 8 bits.
 *
 *   M.qweight I32 [inputs · bits / 32, outputs]   codes, a stream of bits down each column
 *   M.qzeros  I32 [groups, outputs · bits / 32]   zero points, along each row; in format v1 one less than they are
 *   M.scales  [groups, outputs]
 *   M.g_idx   I32 [inputs]                        group of each input; in order unless `desc_act`
 *
 * Source: gptqmodel 7.7.0, `BaseQuantLinear.dequantize_weight` and `model_dequant._shift_gptq_qzeros`.
 */

import type { Companions } from './companions.ts'
import type { Members } from './members.ts'
import { type ModulePattern, modulePattern } from './module-pattern.ts'
import { FLOATS, moduleOf, type QuantizedWeight, type Scheme } from './scheme.ts'
import { gridScales, PLAIN_FIELDS, type StoredTensor } from './stored-quantization.ts'

/** How the weights were found, and what other runtimes note down. */
const NOT_OF_WEIGHTS: readonly string[] = [
  'act_group_aware',
  'backend',
  'batch_size',
  'block_name_to_quantize',
  'cache_block_outputs',
  'cache_examples_on_gpu',
  'damp_auto_increment',
  'damp_percent',
  'dataset',
  'disable_exllama',
  'exllama_config',
  'fail_safe',
  'max_input_length',
  'meta',
  'model_file_base_name',
  'model_name_or_path',
  'model_seqlen',
  'module_name_preceding_first_block',
  'modules_in_block_to_quantize',
  'mse',
  'offload_to_disk',
  'offload_to_disk_path',
  'pad_token_id',
  'quant_method',
  'quantizer',
  'static_groups',
  'tokenizer',
  'true_sequential',
  'uri',
  'use_cuda_fp16',
  'use_exllama',
]

interface Parameters {
  readonly bits: 2 | 3 | 4 | 8
  /** -1 = all inputs. */
  readonly group: number
  readonly isReordered: boolean
}

interface Override {
  readonly matches: ModulePattern
  /** `null` = the module is not quantized. */
  readonly parameters: Parameters | null
}

export function readGptq(members: Members): Scheme {
  const parameters = readParameters(members, { bits: 4, group: 128, isReordered: false })
  const named = members.value('checkpoint_format') === undefined ? 'format' : 'checkpoint_format'
  const format = members.choice(named, ['gptq', 'gptq_v2'], 'gptq')
  members.choice('pack_dtype', ['int32'], 'int32')
  members.flag('sym', true)
  members.flag('lm_head', false)
  for (const key of ['is_marlin_format', 'rotation', 'adapter']) members.neutral(key, [false, ''])
  const overrides = readOverrides(members.child('dynamic'), parameters)
  members.refuseOthers(NOT_OF_WEIGHTS)
  const { bits, group, isReordered } = parameters
  const groups = group === -1 ? 'one group a row' : `groups of ${group}`
  const order = isReordered ? ', inputs reordered (desc_act)' : ''
  const added = format === 'gptq' ? 1 : 0
  return {
    description: `GPTQ, ${bits} bits, ${groups}${order}`,
    weightOf(tensor, companions) {
      const module = moduleOf(tensor.name, '.qweight')
      if (module === null) return null
      const override = overrides.find(({ matches }) => matches(module))
      const own = override === undefined ? parameters : override.parameters
      if (own === null) throw members.refusal('dynamic', `-: for ${module}`, `no ${tensor.name}`)
      return weightOf(module, own, added, companions, tensor)
    },
  }
}

function readParameters(members: Members, base: Parameters): Parameters {
  const bits = members.value('bits') ?? base.bits
  if (bits !== 2 && bits !== 3 && bits !== 4 && bits !== 8) {
    throw members.refusal('bits', bits, '2, 3, 4 or 8')
  }
  const group = members.integer('group_size', -1, 1 << 20, base.group)
  if (group === 0) throw members.refusal('group_size', group, '-1 or above 0')
  return { bits, group, isReordered: members.flag('desc_act', base.isReordered) }
}

/** GPTQModel's own settings of some modules: `+:pattern` or `-:pattern`, the first that matches counts. */
function readOverrides(dynamic: Members | null, base: Parameters): readonly Override[] {
  if (dynamic === null) return []
  const overrides: Override[] = []
  for (const key of dynamic.keys()) {
    const isLeftOut = key.startsWith('-:')
    const matches = modulePattern(key.replace(/^[+-]:/, ''))
    if (matches === undefined) throw dynamic.refusal(key, key, 'a plain regular expression')
    const own = dynamic.child(key)
    let parameters: Parameters | null = isLeftOut ? null : base
    if (own !== null && !isLeftOut) {
      parameters = readParameters(own, base)
      own.flag('sym', true)
      own.refuseOthers(NOT_OF_WEIGHTS)
    }
    overrides.push({ matches, parameters })
  }
  return overrides
}

function weightOf(
  module: string,
  { bits, group, isReordered }: Parameters,
  added: number,
  companions: Companions,
  codes: StoredTensor,
): QuantizedWeight {
  // The codes fill whole words, so that words say how many inputs there are.
  companions.take(codes.name, codes, { dtypes: ['I32'], shapes: [[null, null]] })
  const [words = 0, outputs = 0] = codes.shape
  const inputs = (words * 32) / bits
  const perGroup = group === -1 ? inputs : group
  const groups = Math.ceil(inputs / perGroup)
  const zeroWords = Math.ceil((outputs * bits) / 32)
  const take = (name: string, dtypes: readonly string[], shape: readonly number[]) =>
    companions.take(`${module}.${name}`, codes, { dtypes, shapes: [shape] })
  if (!Number.isInteger(inputs)) {
    companions.take(codes.name, codes, {
      dtypes: ['I32'],
      shapes: [[words - (words % bits), outputs]],
    })
  }
  const zeros = take('qzeros', ['I32'], [groups, zeroWords])
  const scales = take('scales', FLOATS, [groups, outputs])
  const order = { dtypes: ['I32'], shapes: [[inputs]] }
  const groupOfInput = isReordered
    ? take('g_idx', ['I32'], [inputs])
    : (companions.optional(`${module}.g_idx`, order) ?? null)
  const fields = { ...PLAIN_FIELDS, bits, isOutputFirst: false }
  return {
    name: `${module}.weight`,
    format: `GPTQ_INT${bits}`,
    shape: [outputs, inputs],
    quantization: {
      codes: { ...fields, tensor: codes, packing: 'columns' },
      values: 'integers',
      zeros: { ...fields, tensor: zeros, added },
      table: null,
      scales: gridScales(scales, outputs, { isOutputFirst: false }),
      group: perGroup,
      groupOfInput,
    },
  }
}
