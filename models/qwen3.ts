/**
 * Architecture `qwen3`: a llama whose queries and keys are normed in each head before they are rotated, with heads that
 * need not share out the hidden size.
 *
 * Source: arXiv:2505.09388; transformers, `Qwen3Config`; llama.cpp `qwen3.cpp`.
 */

import type { Checkpoint } from '../src/checkpoint/checkpoint.ts'
import { attention } from './blocks/attention.ts'
import { defineDecoder } from './blocks/decoder.ts'
import { gatedMlp } from './blocks/mlp.ts'
import { namesWith, QK_NORM_NAMES } from './blocks/tensor-names.ts'
import { preNorm } from './blocks/wiring.ts'
import type { ModelConfig } from './model-config.ts'
import type { ModelDefinition } from './model-definition.ts'
import { finishGguf, readGgufDecoder } from './reading/gguf-decoder.ts'
import { finishJson, readJsonDecoder } from './reading/json-decoder.ts'
import { jsonRmsNorm } from './reading/norms.ts'
import { readQwenLayers } from './reading/qwen-layers.ts'

export const qwen3: ModelDefinition = defineDecoder({
  modelType: 'qwen3',
  readers: {
    gguf: { architecture: 'qwen3', read: readGguf },
    safetensors: { architecture: 'qwen3', read: readJson },
  },
  names: namesWith(QK_NORM_NAMES),
  layer: preNorm(attention, gatedMlp),
})

function readJson(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readJsonDecoder(checkpoint, {
    modelType: 'qwen3',
    className: 'Qwen3ForCausalLM',
    sizes: { maxContextTokens: 32_768, isTied: false, numKvHeads: 32, headDim: 128 },
    theta: 10_000,
    norm: (keys) => jsonRmsNorm(keys, 1e-6),
  })
  const hasBias = keys.flag('attention_bias', false)
  return finishJson(keys, {
    ...config,
    biases: { ...config.biases, qkv: hasBias, attentionOutput: hasBias },
    qkNorm: 'head',
    layers: readQwenLayers(keys, config.numLayers),
  })
}

function readGguf(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readGgufDecoder(checkpoint, {
    modelType: 'qwen3',
    architecture: 'qwen3',
    style: 'half',
    norm: 'rms',
  })
  return finishGguf(keys, { ...config, qkNorm: 'head' })
}
