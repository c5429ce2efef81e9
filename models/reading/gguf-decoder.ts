/**
 * A decoder's GGUF keys, as far as the architectures agree; each adds what is its own to the configuration, and ends
 * with `finishGguf`, which refuses the keys that nobody asked for.
 */

import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'
import { equalLayers, type ModelConfig, PLAIN, type RopeSetting } from '../model-config.ts'
import { ConfigKeys } from './config-keys.ts'
import { readGgufRope } from './gguf-rope.ts'
import { readGgufSizes } from './gguf-sizes.ts'
import { ggufLayerNorm, ggufRmsNorm } from './norms.ts'

export interface GgufDecoder {
  readonly modelType: string
  /** Prefix of its keys. */
  readonly architecture: string
  /** `null` = positions are not rotated in. */
  readonly style: RopeSetting['style'] | null
  readonly norm: 'rms' | 'layer'
  /** Default true: the ends of YaRN's ramp are whole pairs. */
  readonly isYarnTruncated?: boolean
  /** Default false: values are as wide as keys. */
  readonly hasOwnValueLength?: boolean
}

/** Of what the tensors say. */
const AS_STORED: ModelConfig['biases'] = {
  qkv: 'optional',
  attentionOutput: 'optional',
  mlp: 'optional',
  norm: false,
}

/** With silu, full attention in all layers, and biases where the tensors have them. */
export function readGgufDecoder(
  checkpoint: Checkpoint,
  decoder: GgufDecoder,
): { readonly keys: ConfigKeys; readonly config: ModelConfig } {
  const { modelType, architecture, style, norm } = decoder
  const { isYarnTruncated = true, hasOwnValueLength = false } = decoder
  const keys = ConfigKeys.ofGguf(checkpoint, architecture)
  const sizes = readGgufSizes(keys, checkpoint, { hasOwnValueLength })
  const { headDim, numLayers } = sizes
  const geometry = { ...sizes, isYarnTruncated }
  const read = style === null ? null : readGgufRope(keys, checkpoint, { ...geometry, style })
  const config: ModelConfig = {
    ...PLAIN,
    modelType,
    ...sizes,
    maxContextTokens: read?.maxContextTokens ?? sizes.maxContextTokens,
    biases: AS_STORED,
    norm: norm === 'rms' ? ggufRmsNorm(keys) : ggufLayerNorm(keys),
    ropes: read === null ? [] : [read.rope],
    layers: equalLayers(numLayers, { rope: read === null ? null : 0, window: null }),
    attentionScale: 1 / Math.sqrt(headDim),
  }
  return { keys, config }
}

/** Keys of related architectures that some converters write with the value that changes nothing. */
export function finishGguf(keys: ConfigKeys, config: ModelConfig): ModelConfig {
  const ifUnread = (key: string, neutral: readonly number[]) => {
    if (!keys.wasRead(key)) keys.neutral(key, neutral)
  }
  ifUnread('expert_count', [0])
  ifUnread('expert_used_count', [0])
  ifUnread('attention.sliding_window', [0, config.maxContextTokens])
  ifUnread('attention.scale', [0])
  ifUnread('logit_scale', [0, 1])
  ifUnread('residual_scale', [0, 1])
  ifUnread('embedding_scale', [0, 1])
  keys.neutral('attention.causal', [true])
  keys.neutral('attention.clamp_kqv', [0])
  keys.neutral('attention.max_alibi_bias', [0])
  keys.neutral('use_parallel_residual', [false])
  keys.neutral('tensor_data_layout', ['Meta AI original pth'])
  keys.refuseUnread(ALLOWED)
  return config
}

/** They name the file's layout, its training, or repeat what other keys say. */
const ALLOWED: readonly string[] = [
  'rope.scaling.original_context_length',
  'rope.scaling.finetuned',
]
