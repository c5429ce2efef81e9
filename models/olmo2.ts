/**
 * Architecture `olmo2`: no norm before a half of a layer but one after it, and norms of queries and keys over all heads
 * at once.
 *
 * Source: arXiv:2501.00656; transformers, `Olmo2Config`; llama.cpp `olmo2.cpp`.
 */

import type { Checkpoint } from '../src/checkpoint/checkpoint.ts'
import { attention } from './blocks/attention.ts'
import { defineDecoder } from './blocks/decoder.ts'
import { gatedMlp } from './blocks/mlp.ts'
import { GEMMA_NORM_NAMES, namesWith, QK_NORM_NAMES } from './blocks/tensor-names.ts'
import { postNorm } from './blocks/wiring.ts'
import type { ModelConfig } from './model-config.ts'
import type { ModelDefinition } from './model-definition.ts'
import { finishGguf, readGgufDecoder } from './reading/gguf-decoder.ts'
import { finishJson, readJsonDecoder } from './reading/json-decoder.ts'
import { jsonRmsNorm } from './reading/norms.ts'

export const olmo2: ModelDefinition = defineDecoder({
  modelType: 'olmo2',
  readers: {
    gguf: { architecture: 'olmo2', read: readGguf },
    safetensors: { architecture: 'olmo2', read: readJson },
  },
  names: namesWith(GEMMA_NORM_NAMES, QK_NORM_NAMES),
  layer: postNorm(attention, gatedMlp),
})

function readJson(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readJsonDecoder(checkpoint, {
    modelType: 'olmo2',
    className: 'Olmo2ForCausalLM',
    sizes: { maxContextTokens: 2048, isTied: false },
    theta: 10_000,
    norm: (keys) => jsonRmsNorm(keys, 1e-5),
  })
  const hasBias = keys.flag('attention_bias', false)
  return finishJson(keys, {
    ...config,
    biases: { ...config.biases, qkv: hasBias, attentionOutput: hasBias },
    qkNorm: 'all',
  })
}

function readGguf(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readGgufDecoder(checkpoint, {
    modelType: 'olmo2',
    architecture: 'olmo2',
    style: 'half',
    norm: 'rms',
  })
  return finishGguf(keys, { ...config, qkNorm: 'all' })
}
