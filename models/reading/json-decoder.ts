/**
 * A decoder's `config.json`, as far as the architectures agree; each adds what is its own to the configuration, and
 * ends with `finishJson`, which refuses the members that nobody asked for.
 */

import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'
import { equalLayers, type ModelConfig, type NormConfig, PLAIN } from '../model-config.ts'
import { readActivation } from './activation.ts'
import { ConfigKeys } from './config-keys.ts'
import { NOT_COMPUTED } from './json-members.ts'
import { type RopeGeometry, readJsonRope } from './json-rope.ts'
import { readJsonSizes, type SizeDefaults } from './json-sizes.ts'

export interface JsonDecoder {
  readonly modelType: string
  /** Member of `architectures`. */
  readonly className: string
  readonly sizes: SizeDefaults
  readonly norm: (keys: ConfigKeys) => NormConfig
  /** Default of `rope_theta`; `null` = the architecture reads its rope settings itself. */
  readonly theta: number | null
  /** What is not llama's about its rope setting. */
  readonly rope?: (keys: ConfigKeys) => Partial<RopeGeometry>
  /** Default: `hidden_act`, silu when absent. */
  readonly activation?: { readonly key: string; readonly fallback: string }
}

/** With the activation of `hidden_act`, full attention in all layers, and no biases. */
export function readJsonDecoder(
  checkpoint: Checkpoint,
  decoder: JsonDecoder,
): { readonly keys: ConfigKeys; readonly config: ModelConfig } {
  const { modelType, className, theta: defaultTheta } = decoder
  const keys = ConfigKeys.ofJson(checkpoint, modelType)
  keys.includes('architectures', className)
  const sizes = readJsonSizes(keys, checkpoint, decoder.sizes)
  const { key, fallback } = decoder.activation ?? { key: 'hidden_act', fallback: 'silu' }
  const config: ModelConfig = {
    ...PLAIN,
    modelType,
    ...sizes,
    norm: decoder.norm(keys),
    activation: readActivation(keys, key, fallback),
    ropes: [],
    layers: equalLayers(sizes.numLayers, { rope: 0, window: null }),
    attentionScale: 1 / Math.sqrt(sizes.headDim),
  }
  if (defaultTheta === null) return { keys, config }
  const geometry = { ...sizes, defaultTheta, ...decoder.rope?.(keys) }
  const { rope, maxContextTokens } = readJsonRope(keys, geometry)
  return { keys, config: { ...config, ropes: [rope], maxContextTokens } }
}

/** @param unused - members that this architecture's own computation does not read */
export function finishJson(
  keys: ConfigKeys,
  config: ModelConfig,
  unused: readonly string[] = [],
): ModelConfig {
  keys.ignore('model_type') // the registry's
  if (!keys.wasRead('pretraining_tp')) keys.neutral('pretraining_tp', [1])
  keys.neutral('rope_interleaved', [false])
  keys.neutral('is_encoder_decoder', [false])
  keys.neutral('add_cross_attention', [false])
  keys.neutral('use_bidirectional_attention', [false])
  if (keys.child('pruned_heads') !== null) {
    throw keys.unsupported('pruned_heads', 'an object', 'no pruned heads')
  }
  if (!keys.wasRead('sliding_window')) keys.neutral('sliding_window', [])
  keys.refuseUnread([...NOT_COMPUTED, ...unused])
  return config
}
