/**
 * What was decided about a model's weights, in words: lines of the start report, the `quantization` of cards and audit
 * records, and the text that goes into the serving configuration's digest. Pure; decides nothing.
 */

import { SOURCE_WEIGHTS, type WeightsChoice } from '../base/weights-choice.ts'
import type { OptionKey } from '../config/options.ts'
import type { Choice } from '../config/runtime-config.ts'
import type { Decision, WeightPlan } from '../graph/plan-weights.ts'
import { canonicalJson } from './serving-config-digest.ts'

/** Lines for what the configuration left open, and for what could not be as it was wished. */
export function weightChoices(choice: WeightsChoice, plan: WeightPlan): readonly Choice[] {
  const { head, embedding, group, symmetry } = plan.decided
  const lines: Choice[] = []
  const add = (key: OptionKey, { value, reason }: Decision): void => {
    if (reason !== null) lines.push({ key, value, reason, origin: 'auto' })
  }
  add('model.weightsHead', head)
  add('model.weightsEmbedding', embedding)
  add('model.weightsGroup', group)
  add('model.weightsSymmetry', symmetry)
  const kept = plan.tensors.filter(({ keptBecause }) => keptBecause !== null)
  const why = kept[0]?.keptBecause
  if (why !== undefined && why !== null) {
    const matrices = kept.length === 1 ? '1 matrix stays' : `${kept.length} matrices stay`
    const reason = `${matrices} as stored: ${why}`
    lines.push({ key: 'model.weights', value: choice.format, reason, origin: 'auto' })
  }
  return lines
}

/** `Q4_1`, or `int4 (Q4_1), head int8`: what the weights are computed in. @param stored - name of the stored format */
export function quantizationName(choice: WeightsChoice, plan: WeightPlan, stored: string): string {
  if (isSource(choice)) return stored
  const parts = [choice.format === 'source' ? stored : nameOf(choice, plan)]
  const { head, embedding } = plan.decided
  if (head.value !== choice.format) parts.push(`head ${head.value}`)
  const isTied = plan.tensors.some(({ role }) => role === 'tied')
  if (!isTied && embedding.value !== choice.format) parts.push(`embedding ${embedding.value}`)
  const { length } = choice.overrides
  if (length > 0) parts.push(length === 1 ? '1 override' : `${length} overrides`)
  return parts.join(', ')
}

/** Equal texts, equal weights, for one checkpoint and one version. */
export function weightsIdentity(choice: WeightsChoice, plan: WeightPlan): string {
  if (isSource(choice)) return 'source'
  const { head, embedding, group, symmetry } = plan.decided
  return canonicalJson({
    format: choice.format,
    head: head.value,
    embedding: embedding.value,
    group: group.value,
    symmetry: symmetry.value,
    overrides: choice.overrides,
  })
}

function isSource(choice: WeightsChoice): boolean {
  return canonicalJson(choice) === canonicalJson(SOURCE_WEIGHTS)
}

function nameOf({ format, group }: WeightsChoice, plan: WeightPlan): string {
  const linear = plan.tensors.filter(({ role }) => role === 'linear')
  const packed = [...new Set(linear.map((tensor) => tensor.packed))].join(' ')
  const length = group === null || group === 32 ? '' : `, group ${group}`
  return format === 'int4' || format === 'int8' ? `${format} (${packed}${length})` : format
}
