/** What the configurations of the Gemma family share. Source: transformers, `Gemma2Config` and `Gemma3TextConfig`. */

import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'
import type { ModelConfig } from '../model-config.ts'
import { FACTOR, SIZE } from './bounds.ts'
import type { ConfigKeys } from './config-keys.ts'
import { type JsonDecoder, readJsonDecoder } from './json-decoder.ts'
import { type RopeGeometry, ropeOf } from './json-rope.ts'
import { jsonRmsNorm } from './norms.ts'

export interface GemmaDecoder extends Omit<JsonDecoder, 'norm' | 'activation'> {
  /** Defaults; `null` = none. */
  readonly attentionSoftcap: number | null
  readonly logitSoftcap: number | null
}

export function readGemmaJson(
  checkpoint: Checkpoint,
  decoder: GemmaDecoder,
): { readonly keys: ConfigKeys; readonly config: ModelConfig } {
  const activation = { key: 'hidden_activation', fallback: 'gelu_pytorch_tanh' }
  const norm = (keys: ConfigKeys) => jsonRmsNorm(keys, 1e-6, 1)
  const { keys, config } = readJsonDecoder(checkpoint, { ...decoder, activation, norm })
  // Written for other runtimes; transformers reads `hidden_activation`.
  keys.neutral('hidden_act', ['gelu', 'gelu_pytorch_tanh'])
  const hasBias = keys.flag('attention_bias', false)
  const scalar = keys.number('query_pre_attn_scalar', { least: 1, most: SIZE.most }, 256)
  return {
    keys,
    config: {
      ...config,
      biases: { ...config.biases, qkv: hasBias, attentionOutput: hasBias },
      embeddingScale: Math.sqrt(config.hiddenSize),
      attentionScale: 1 / Math.sqrt(scalar),
      attentionSoftcap: readSoftcap(keys, 'attn_logit_softcapping', decoder.attentionSoftcap),
      logitSoftcap: readSoftcap(keys, 'final_logit_softcapping', decoder.logitSoftcap),
    },
  }
}

/** `null` is none, absent is the default. */
function readSoftcap(keys: ConfigKeys, key: string, fallback: number | null): number | null {
  if (keys.isNull(key) || (fallback === null && !keys.has(key))) {
    keys.ignore(key)
    return null
  }
  return keys.number(key, FACTOR, fallback ?? undefined)
}

/**
 * First the setting of full layers, then that of sliding ones: `rope_parameters` by layer type, or `rope_theta` and `rope_scaling` for full
 * layers and `rope_local_base_freq` for sliding ones.
 */
export function readGemmaRopes(
  keys: ConfigKeys,
  config: ModelConfig,
): Pick<ModelConfig, 'ropes' | 'maxContextTokens'> {
  const theta = { least: 1, most: 1e12 }
  const geometry = (defaultTheta: number): RopeGeometry => ({ ...config, defaultTheta })
  const fullGeometry = geometry(keys.number('rope_theta', theta, 1_000_000))
  const slidingGeometry = geometry(keys.number('rope_local_base_freq', theta, 10_000))
  const modern = keys.child('rope_parameters')
  const older = keys.child('rope_scaling')
  if (modern !== null && older !== null) {
    throw keys.unsupported('rope_scaling', 'given beside rope_parameters', 'one of the two')
  }
  const full = modern === null ? older : modern.child('full_attention')
  const sliding = modern?.child('sliding_attention') ?? null
  modern?.refuseUnread([])
  const none = keys.empty()
  const read = [ropeOf(full ?? none, fullGeometry), ropeOf(sliding ?? none, slidingGeometry)]
  return {
    ropes: read.map(({ rope }) => rope),
    maxContextTokens: Math.min(...read.map((each) => each.maxContextTokens)),
  }
}

/** Of a GGUF file, which says nothing of it: of the heads' width, but for the largest model, of their share. */
export function ggufAttentionScale(config: ModelConfig, numLayersOfLargest: number): number {
  const { numLayers, hiddenSize, numHeads, headDim } = config
  const isLargest = numLayers === numLayersOfLargest
  return 1 / Math.sqrt(isLargest ? Math.floor(hiddenSize / numHeads) : headDim)
}
