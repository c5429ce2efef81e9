/**
 * Architecture `starcoder2`: norms of mean and variance, biases everywhere, an MLP without gates.
 *
 * Source: arXiv:2402.19173; transformers, `Starcoder2Config`; llama.cpp `starcoder2.cpp`.
 */

import type { Checkpoint } from '../src/checkpoint/checkpoint.ts'
import { attention } from './blocks/attention.ts'
import { defineDecoder } from './blocks/decoder.ts'
import { plainMlp } from './blocks/mlp.ts'
import { namesWith } from './blocks/tensor-names.ts'
import { preNorm } from './blocks/wiring.ts'
import { equalLayers, type ModelConfig } from './model-config.ts'
import type { ModelDefinition } from './model-definition.ts'
import { finishGguf, readGgufDecoder } from './reading/gguf-decoder.ts'
import { finishJson, readJsonDecoder } from './reading/json-decoder.ts'
import { readJsonWindow } from './reading/layer-kinds.ts'
import { jsonLayerNorm } from './reading/norms.ts'

/** Members of an older class that the published checkpoints carry along, and nothing reads. */
const UNUSED = [
  'activation_function',
  'attention_softmax_in_fp32',
  'layer_norm_epsilon',
  'scale_attention_softmax_in_fp32',
]

export const starcoder2: ModelDefinition = defineDecoder({
  modelType: 'starcoder2',
  readers: {
    gguf: { architecture: 'starcoder2', read: readGguf },
    safetensors: { architecture: 'starcoder2', read: readJson },
  },
  names: namesWith({
    gguf: { ffn_gate: null },
    safetensors: { ffn_gate: null, ffn_up: 'mlp.c_fc', ffn_down: 'mlp.c_proj' },
  }),
  layer: preNorm(attention, plainMlp),
})

function readJson(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readJsonDecoder(checkpoint, {
    modelType: 'starcoder2',
    className: 'Starcoder2ForCausalLM',
    sizes: { maxContextTokens: 4096, isTied: true, numKvHeads: 2 },
    theta: 10_000,
    norm: (keys) => jsonLayerNorm(keys, 'norm_epsilon', 1e-5),
    activation: { key: 'hidden_act', fallback: 'gelu_pytorch_tanh' },
  })
  const hasBias = keys.flag('use_bias', true)
  const window = readJsonWindow(keys, null)
  keys.neutral('mlp_type', ['default'])
  keys.neutral('norm_type', ['layer_norm'])
  keys.neutral('scale_attn_weights', [true])
  return finishJson(
    keys,
    {
      ...config,
      biases: { qkv: hasBias, attentionOutput: hasBias, mlp: hasBias, norm: true },
      layers: equalLayers(config.numLayers, { rope: 0, window }),
    },
    UNUSED,
  )
}

function readGguf(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readGgufDecoder(checkpoint, {
    modelType: 'starcoder2',
    architecture: 'starcoder2',
    style: 'half',
    norm: 'layer',
  })
  const biases = { ...config.biases, norm: true }
  return finishGguf(keys, { ...config, biases, activation: 'gelu_tanh' })
}
