/**
 * Architecture `granite`: a llama with multipliers of the embeddings, of the attention's scores, of what each half of a
 * layer adds, and a divisor of the logits.
 *
 * Source: arXiv:2408.13359; transformers, `GraniteConfig`; llama.cpp `granite.cpp`.
 */

import type { Checkpoint } from '../src/checkpoint/checkpoint.ts'
import { attention } from './blocks/attention.ts'
import { defineDecoder } from './blocks/decoder.ts'
import { gatedMlp } from './blocks/mlp.ts'
import { STANDARD_NAMES } from './blocks/tensor-names.ts'
import { preNorm } from './blocks/wiring.ts'
import type { ModelConfig } from './model-config.ts'
import type { ModelDefinition } from './model-definition.ts'
import { FACTOR } from './reading/bounds.ts'
import { finishGguf, readGgufDecoder } from './reading/gguf-decoder.ts'
import { finishJson, readJsonDecoder } from './reading/json-decoder.ts'
import { jsonRmsNorm } from './reading/norms.ts'

export const granite: ModelDefinition = defineDecoder({
  modelType: 'granite',
  readers: {
    gguf: { architecture: 'granite', read: readGguf },
    safetensors: { architecture: 'granite', read: readJson },
  },
  names: STANDARD_NAMES,
  layer: preNorm(attention, gatedMlp),
  isPairedInGguf: true,
})

function readJson(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readJsonDecoder(checkpoint, {
    modelType: 'granite',
    className: 'GraniteForCausalLM',
    sizes: { maxContextTokens: 2048, isTied: false },
    theta: 10_000,
    norm: (keys) => jsonRmsNorm(keys, 1e-6),
  })
  const hasBias = keys.flag('attention_bias', false)
  const mlp = keys.flag('mlp_bias', false)
  return finishJson(keys, {
    ...config,
    biases: { ...config.biases, qkv: hasBias, attentionOutput: hasBias, mlp },
    attentionScale: keys.number('attention_multiplier', FACTOR, 1),
    embeddingScale: keys.number('embedding_multiplier', FACTOR, 1),
    residualScale: keys.number('residual_multiplier', FACTOR, 1),
    logitScale: 1 / keys.number('logits_scaling', FACTOR, 1),
  })
}

/** A multiplier of 0 stands for none. */
function readGguf(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readGgufDecoder(checkpoint, {
    modelType: 'granite',
    architecture: 'granite',
    // Converters permute q and k so that pairs lie side by side.
    style: 'interleaved',
    norm: 'rms',
  })
  const multiplier = (key: string) => keys.number(key, { ...FACTOR, least: 0 }, 0)
  keys.neutral('rope.scaling.finetuned', [true]) // false would be: no rotation
  return finishGguf(keys, {
    ...config,
    attentionScale: multiplier('attention.scale') || config.attentionScale,
    embeddingScale: multiplier('embedding_scale') || 1,
    residualScale: multiplier('residual_scale') || 1,
    logitScale: 1 / keys.number('logit_scale', FACTOR),
  })
}
