/**
 * Architecture `glm4`: GLM-4-0414. Norms before and after each half of a layer, half of each head rotated with pairs
 * side by side, gate and up in one stored matrix.
 *
 * Source: transformers, `Glm4Config`; llama.cpp `glm4.cpp`.
 */

import type { Checkpoint } from '../src/checkpoint/checkpoint.ts'
import { attention } from './blocks/attention.ts'
import { defineDecoder } from './blocks/decoder.ts'
import { gatedMlp } from './blocks/mlp.ts'
import { JOINED_GATE_UP_NAMES, type NameChanges, namesWith } from './blocks/tensor-names.ts'
import { sandwich } from './blocks/wiring.ts'
import type { ModelConfig } from './model-config.ts'
import type { ModelDefinition } from './model-definition.ts'
import { finishGguf, readGgufDecoder } from './reading/gguf-decoder.ts'
import { finishJson, readJsonDecoder } from './reading/json-decoder.ts'
import { jsonRmsNorm } from './reading/norms.ts'

const NORM_NAMES: NameChanges = {
  gguf: { post_attention_norm: 'post_attention_norm', post_ffw_norm: 'post_ffw_norm' },
  safetensors: {
    post_attention_norm: 'post_self_attn_layernorm',
    post_ffw_norm: 'post_mlp_layernorm',
  },
}

export const glm4: ModelDefinition = defineDecoder({
  modelType: 'glm4',
  readers: {
    gguf: { architecture: 'glm4', read: readGguf },
    safetensors: { architecture: 'glm4', read: readJson },
  },
  names: namesWith(NORM_NAMES, JOINED_GATE_UP_NAMES),
  layer: sandwich(attention, gatedMlp),
})

function readJson(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readJsonDecoder(checkpoint, {
    modelType: 'glm4',
    className: 'Glm4ForCausalLM',
    sizes: { maxContextTokens: 131_072, isTied: false, numKvHeads: 2, headDim: 128 },
    theta: 10_000,
    rope: () => ({ style: 'interleaved', defaultPartial: 0.5 }),
    norm: (keys) => jsonRmsNorm(keys, 1.5625e-7),
  })
  const qkv = keys.flag('attention_bias', true)
  return finishJson(keys, { ...config, biases: { ...config.biases, qkv } })
}

function readGguf(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readGgufDecoder(checkpoint, {
    modelType: 'glm4',
    architecture: 'glm4',
    style: 'interleaved',
    norm: 'rms',
  })
  return finishGguf(keys, config)
}
