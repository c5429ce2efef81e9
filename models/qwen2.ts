/**
 * Architecture `qwen2`: Qwen2 and Qwen2.5. A llama with biases of q, k and v, and windows in its later layers if asked.
 *
 * Source: arXiv:2407.10671; transformers, `Qwen2Config`; llama.cpp `qwen2.cpp`.
 */

import type { Checkpoint } from '../src/checkpoint/checkpoint.ts'
import { attention } from './blocks/attention.ts'
import { defineDecoder } from './blocks/decoder.ts'
import { gatedMlp } from './blocks/mlp.ts'
import { STANDARD_NAMES } from './blocks/tensor-names.ts'
import { preNorm } from './blocks/wiring.ts'
import type { ModelConfig } from './model-config.ts'
import type { ModelDefinition } from './model-definition.ts'
import { finishGguf, readGgufDecoder } from './reading/gguf-decoder.ts'
import { finishJson, readJsonDecoder } from './reading/json-decoder.ts'
import { jsonRmsNorm } from './reading/norms.ts'
import { readQwenLayers } from './reading/qwen-layers.ts'

export const qwen2: ModelDefinition = defineDecoder({
  modelType: 'qwen2',
  readers: {
    gguf: { architecture: 'qwen2', read: readGguf },
    safetensors: { architecture: 'qwen2', read: readJson },
  },
  names: STANDARD_NAMES,
  layer: preNorm(attention, gatedMlp),
})

function readJson(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readJsonDecoder(checkpoint, {
    modelType: 'qwen2',
    className: 'Qwen2ForCausalLM',
    sizes: { maxContextTokens: 32_768, isTied: false, numKvHeads: 32 },
    theta: 10_000,
    norm: (keys) => jsonRmsNorm(keys, 1e-6),
  })
  keys.neutral('use_mrope', [false])
  return finishJson(keys, {
    ...config,
    biases: { ...config.biases, qkv: true },
    layers: readQwenLayers(keys, config.numLayers),
  })
}

function readGguf(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readGgufDecoder(checkpoint, {
    modelType: 'qwen2',
    architecture: 'qwen2',
    style: 'half',
    norm: 'rms',
  })
  return finishGguf(keys, config)
}
