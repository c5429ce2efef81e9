/**
 * Rotary positions as GGUF keys describe them. Source: llama.cpp, `llama_model_base::load_hparams`, `llama_context` and
 * `ggml_rope_ext`.
 */

import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'
import type { RopeSetting } from '../model-config.ts'
import { CONTEXT, FACTOR } from './bounds.ts'
import type { ConfigKeys } from './config-keys.ts'
import type { ReadRope } from './json-rope.ts'
import { yarnFactors, yarnMagnitude } from './rope-scaling.ts'

/** Factors of the rotary frequencies that converters compute for Llama 3. */
const ROPE_FACTORS_TENSOR = 'rope_freqs.weight'
/** LongRoPE's, within the original context and beyond it. */
export const SHORT_FACTORS_TENSOR = 'rope_factors_short.weight'
export const LONG_FACTORS_TENSOR = 'rope_factors_long.weight'
const ANY = { least: 0, most: 1 << 20 }

export interface GgufRopeGeometry {
  readonly headDim: number
  readonly style: RopeSetting['style']
  readonly maxContextTokens: number
  /** Default true: the ends of YaRN's ramp are whole pairs. */
  readonly isYarnTruncated?: boolean
}

export function readGgufRope(
  keys: ConfigKeys,
  checkpoint: Checkpoint,
  { headDim, style, maxContextTokens, isYarnTruncated = true }: GgufRopeGeometry,
): ReadRope {
  const rotaryDim = keys.integer('rope.dimension_count', { least: 2, most: headDim }, headDim)
  if (rotaryDim % 2 !== 0) throw keys.unsupported('rope.dimension_count', rotaryDim, 'even')
  const plain: RopeSetting = {
    theta: keys.number('rope.freq_base', { least: 1, most: 1e12 }, 10_000),
    rotaryDim,
    style,
    linearFactor: 1,
    factorsTensor: checkpoint.tensors.has(ROPE_FACTORS_TENSOR) ? ROPE_FACTORS_TENSOR : null,
    factors: null,
    magnitude: 1,
  }
  // Without a type, a factor means linear scaling; with type `none`, a factor means nothing.
  const type = keys.text('rope.scaling.type', 'linear')
  const legacyFactor = keys.number('rope.scale_linear', ANY, 0)
  const factor = keys.number('rope.scaling.factor', ANY, 0) || legacyFactor || 1
  if (checkpoint.tensors.has(SHORT_FACTORS_TENSOR))
    return readLongrope(keys, plain, maxContextTokens)
  if (type === 'yarn') {
    const scaling = { factor, isTruncated: isYarnTruncated }
    return { rope: readYarn(keys, plain, scaling, maxContextTokens), maxContextTokens }
  }
  keys.neutral('rope.scaling.attn_factor', [0, 1])
  if (type === 'none') return { rope: plain, maxContextTokens }
  if (type === 'linear') return { rope: { ...plain, linearFactor: factor }, maxContextTokens }
  throw keys.unsupported('rope.scaling.type', type, 'linear, yarn or none')
}

/** See `longropeMagnitude` of `rope-scaling.ts` for why a context ends where the short factors do. */
function readLongrope(keys: ConfigKeys, rope: RopeSetting, maxContextTokens: number): ReadRope {
  const context = readOriginalContext(keys, maxContextTokens)
  const magnitude = keys.number('rope.scaling.attn_factor', ANY, 0) || 1
  return {
    rope: { ...rope, factorsTensor: SHORT_FACTORS_TENSOR, magnitude },
    maxContextTokens: Math.min(maxContextTokens, context),
  }
}

/** The magnitude follows from the factor, times a stated one. */
function readYarn(
  keys: ConfigKeys,
  rope: RopeSetting,
  { factor, isTruncated }: { readonly factor: number; readonly isTruncated: boolean },
  maxContextTokens: number,
): RopeSetting {
  const context = readOriginalContext(keys, maxContextTokens)
  if (rope.theta === 1) throw keys.unsupported('rope.freq_base', rope.theta, 'above 1')
  keys.neutral('rope.scaling.yarn_ext_factor', [1])
  const fast = keys.number('rope.scaling.yarn_beta_fast', FACTOR, 32)
  const slow = keys.number('rope.scaling.yarn_beta_slow', FACTOR, 1)
  const scaling = { factor, context, fast, slow, isTruncated }
  const stated = keys.number('rope.scaling.attn_factor', ANY, 0) || 1
  const magnitude = yarnMagnitude(factor, 0, 0) * stated
  return { ...rope, factors: yarnFactors(rope, scaling), magnitude }
}

function readOriginalContext(keys: ConfigKeys, fallback: number): number {
  return keys.integer('rope.scaling.original_context_length', { ...CONTEXT, least: 1 }, fallback)
}
