/** How metadata says which norm an architecture has and with what epsilon. */

import type { NormConfig } from '../model-config.ts'
import { EPSILON } from './bounds.ts'
import type { ConfigKeys } from './config-keys.ts'

/** @param weightOffset - added to the stored weight */
export function jsonRmsNorm(keys: ConfigKeys, fallback: number, weightOffset = 0): NormConfig {
  return { kind: 'rms', epsilon: keys.number('rms_norm_eps', EPSILON, fallback), weightOffset }
}

/** Converters have added an offset to the weights themselves. */
export function ggufRmsNorm(keys: ConfigKeys): NormConfig {
  const epsilon = keys.number('attention.layer_norm_rms_epsilon', EPSILON)
  return { kind: 'rms', epsilon, weightOffset: 0 }
}

export function jsonLayerNorm(keys: ConfigKeys, key: string, fallback: number): NormConfig {
  return { kind: 'layer', epsilon: keys.number(key, EPSILON, fallback), weightOffset: 0 }
}

export function ggufLayerNorm(keys: ConfigKeys): NormConfig {
  const epsilon = keys.number('attention.layer_norm_epsilon', EPSILON)
  return { kind: 'layer', epsilon, weightOffset: 0 }
}
