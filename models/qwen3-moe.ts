/**
 * Architecture `qwen3_moe`: a qwen3 with small experts in most layers, and none that all rows share.
 *
 * Source: arXiv:2505.09388; transformers, `Qwen3MoeConfig`; llama.cpp `qwen3moe.cpp`.
 */

import type { Checkpoint } from '../src/checkpoint/checkpoint.ts'
import { attention } from './blocks/attention.ts'
import { defineDecoder } from './blocks/decoder.ts'
import { GGUF_EXPERTS, QWEN_EXPERTS, ROUTER_NAMES } from './blocks/expert-names.ts'
import { expertMlp } from './blocks/experts.ts'
import { extended, namesWith, QK_NORM_NAMES } from './blocks/tensor-names.ts'
import { preNorm } from './blocks/wiring.ts'
import { type ExpertsConfig, equalLayers, type ModelConfig } from './model-config.ts'
import type { ModelDefinition } from './model-definition.ts'
import { SIZE } from './reading/bounds.ts'
import {
  type ExpertSizes,
  readGgufExperts,
  readJsonExpertCount,
  readTopK,
  withQwenDenseLayers,
} from './reading/experts.ts'
import { finishGguf, readGgufDecoder } from './reading/gguf-decoder.ts'
import { finishJson, readJsonDecoder } from './reading/json-decoder.ts'
import { readJsonWindow } from './reading/layer-kinds.ts'
import { jsonRmsNorm } from './reading/norms.ts'

export const qwen3Moe: ModelDefinition = defineDecoder({
  modelType: 'qwen3_moe',
  readers: {
    gguf: { architecture: 'qwen3moe', read: readGguf },
    safetensors: { architecture: 'qwen3_moe', read: readJson },
  },
  names: extended(namesWith(QK_NORM_NAMES, ROUTER_NAMES), {
    gguf: { experts: GGUF_EXPERTS },
    safetensors: { experts: QWEN_EXPERTS },
  }),
  layer: preNorm(attention, expertMlp),
})

function readJson(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readJsonDecoder(checkpoint, {
    modelType: 'qwen3_moe',
    className: 'Qwen3MoeForCausalLM',
    sizes: { maxContextTokens: 32_768, isTied: false, numKvHeads: 4 },
    theta: 10_000,
    norm: (keys) => jsonRmsNorm(keys, 1e-6),
  })
  const hasBias = keys.flag('attention_bias', false)
  const isUsed = keys.flag('use_sliding_window', false)
  if (!isUsed) keys.ignore('sliding_window')
  const window = isUsed ? readJsonWindow(keys, 4096) : null
  const layers = equalLayers(config.numLayers, { rope: 0, window })
  keys.ignore('max_window_layers') // all layers have the window, or none
  const numExperts = readJsonExpertCount(keys, ['num_local_experts', 'num_experts'], 128)
  const topK = readTopK(keys, 'num_experts_per_tok', numExperts, 8)
  const size = keys.integer('moe_intermediate_size', SIZE, 768)
  const normalize = keys.flag('norm_topk_prob', false)
  return finishJson(keys, {
    ...config,
    biases: { ...config.biases, qkv: hasBias, attentionOutput: hasBias },
    qkNorm: 'head',
    layers: withQwenDenseLayers(keys, layers),
    experts: expertsOf(config, { numExperts, topK, size }, normalize),
  })
}

function readGguf(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readGgufDecoder(checkpoint, {
    modelType: 'qwen3_moe',
    architecture: 'qwen3moe',
    style: 'half',
    norm: 'rms',
  })
  const experts = readGgufExperts(keys, config.intermediateSize)
  return finishGguf(keys, {
    ...config,
    qkNorm: 'head',
    experts: expertsOf(config, experts, true),
  })
}

function expertsOf(
  { activation: kind }: ModelConfig,
  { numExperts, topK, size }: ExpertSizes,
  normalize: boolean,
): ExpertsConfig {
  return {
    numExperts,
    size,
    router: { scoring: 'softmax', topK, normalize },
    hasCorrection: false,
    hasBias: false,
    shared: null,
    unit: { kind },
  }
}
