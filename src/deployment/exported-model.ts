/**
 * What an exported graph decides by itself: types of computation and cache, and which settings can therefore not be
 * asked for. Pure; knows the description of a graph, runs nothing.
 */

import { SOURCE_WEIGHTS, type WeightsChoice } from '../base/weights-choice.ts'
import type { ExportedDecoder } from '../checkpoint/onnx/exported-decoder.ts'
import { OPTIONS, type OptionKey } from '../config/options.ts'
import type { Choice } from '../config/runtime-config.ts'
import type { Decision, WeightPlan } from '../graph/plan-weights.ts'
import { deploymentError } from './errors.ts'
import { canonicalJson } from './serving-config-digest.ts'

const BY_GRAPH = 'of the exported graph'

/** Graph and weights are loaded as they are stored. @throws ServingError DEPLOYMENT_EXPORTED_SETTING */
export function exportedWeightPlan(
  { graphFile }: ExportedDecoder,
  packedBytes: number,
  choice: WeightsChoice,
): WeightPlan {
  if (canonicalJson(choice) !== canonicalJson(SOURCE_WEIGHTS)) {
    throw refused('--weights', 'source', choice.format, graphFile)
  }
  const asStored: Decision = { value: 'source', reason: BY_GRAPH }
  const decided = { head: asStored, embedding: asStored, group: asStored, symmetry: asStored }
  return { weights: [], tensors: [], packedBytes, decided }
}

/** Bytes of keys and values of one token; a concatenating graph holds its past and its present. */
export function exportedKvBytesPerToken(decoder: ExportedDecoder): number {
  const { sizes, inputs, kvType, sharesKvBuffer } = decoder
  const elements = 2 * inputs.past.length * sizes.numKvHeads * sizes.headDim
  return elements * (kvType === 'F32' ? 4 : 2) * (sharesKvBuffer ? 1 : 2)
}

/** `f32`, `f16`. */
export function exportedKvDtype({ kvType }: Pick<ExportedDecoder, 'kvType'>): string {
  return kvType.toLowerCase()
}

/**
 * Lines that replace those of the configuration.
 *
 * @param choices - of the configuration; what somebody wrote must be what the graph does
 * @throws ServingError DEPLOYMENT_EXPORTED_SETTING
 */
export function exportedChoices(
  decoder: ExportedDecoder,
  choices: readonly Choice[],
): readonly Choice[] {
  const { activations, graphFile } = decoder
  const lines: Choice[] = []
  const decide = (key: OptionKey, value: string, reason: string): void => {
    const written = choices.find((choice) => choice.key === key)
    if (written === undefined) return
    const isAsked = !['default', 'auto'].includes(written.origin)
    if (isAsked && written.value !== value) {
      throw refused(flagName(key), value, written.value, graphFile)
    }
    lines.push({ key, value, reason, origin: 'auto' })
  }
  decide('engine.activations', activations, BY_GRAPH)
  decide('engine.kvDtype', exportedKvDtype(decoder), BY_GRAPH)
  decide('engine.prefixCache', 'off', 'an exported graph keeps the KV of each sequence by itself')
  decide('engine.swapSpace', '0 B', 'an exported graph keeps the KV of each sequence by itself')
  decide('store.kvDiskCache', '0 B', 'an exported graph keeps the KV of each sequence by itself')
  decide('engine.draftTokens', '0', 'an exported graph computes each row of an answer by itself')
  return lines
}

/** `--kv-dtype <type>` → `--kv-dtype` */
function flagName(key: OptionKey): string {
  return OPTIONS[key].flag?.split(' ')[0] ?? key
}

function refused(param: string, expected: string, got: string, file: string): Error {
  const details = { param, expected, got, file }
  return deploymentError('DEPLOYMENT_EXPORTED_SETTING', { param, details })
}
