/**
 * Rotary positions as GGUF keys describe them. Source: llama.cpp, `llama_model_base::load_hparams` and `ggml_rope`.
 */

import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'
import type { RopeSetting } from '../model-config.ts'
import type { ConfigKeys } from './config-keys.ts'

/** Factors of the rotary frequencies that converters compute for Llama 3. */
const ROPE_FACTORS_TENSOR = 'rope_freqs.weight'

export function readGgufRope(
  keys: ConfigKeys,
  checkpoint: Checkpoint,
  { headDim, style }: { readonly headDim: number; readonly style: RopeSetting['style'] },
): RopeSetting {
  const rotaryDim = keys.integer('rope.dimension_count', { least: 2, most: headDim }, headDim)
  if (rotaryDim % 2 !== 0) throw keys.unsupported('rope.dimension_count', rotaryDim, 'even')
  return {
    theta: keys.number('rope.freq_base', { least: 1, most: 1e12 }, 10_000),
    rotaryDim,
    style,
    linearFactor: readLinearFactor(keys),
    factorsTensor: checkpoint.tensors.has(ROPE_FACTORS_TENSOR) ? ROPE_FACTORS_TENSOR : null,
    factors: null,
    magnitude: 1,
  }
}

/** Without a type, a factor means linear scaling; with type `none`, a factor means nothing. */
function readLinearFactor(keys: ConfigKeys): number {
  const type = keys.text('rope.scaling.type', 'linear')
  if (type !== 'linear' && type !== 'none') {
    throw keys.unsupported('rope.scaling.type', type, 'linear or none')
  }
  const range = { least: 0, most: 1 << 20 }
  const legacyFactor = keys.number('rope.scale_linear', range, 0)
  const factor = keys.number('rope.scaling.factor', range, 0) || legacyFactor
  keys.neutral('rope.scaling.attn_factor', [0, 1])
  return type === 'none' || factor === 0 ? 1 : factor
}
