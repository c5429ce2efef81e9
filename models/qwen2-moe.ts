/**
 * Architecture `qwen2_moe`: Qwen1.5-MoE and Qwen2-57B-A14B. A qwen2 with small experts in most layers, and one expert
 * that all rows share, gated by a logit of its own.
 *
 * Source: arXiv:2407.10671; transformers, `Qwen2MoeConfig`; llama.cpp `qwen2moe.cpp`.
 */

import type { Checkpoint } from '../src/checkpoint/checkpoint.ts'
import { attention } from './blocks/attention.ts'
import { defineDecoder } from './blocks/decoder.ts'
import {
  GGUF_EXPERTS,
  QWEN_EXPERTS,
  ROUTER_NAMES,
  sharedExpertNames,
} from './blocks/expert-names.ts'
import { expertMlp } from './blocks/experts.ts'
import { extended, namesWith } from './blocks/tensor-names.ts'
import { preNorm } from './blocks/wiring.ts'
import type { ModelConfig } from './model-config.ts'
import type { ModelDefinition } from './model-definition.ts'
import { SIZE } from './reading/bounds.ts'
import type { ConfigKeys } from './reading/config-keys.ts'
import {
  readGgufExperts,
  readJsonExpertCount,
  readTopK,
  withQwenDenseLayers,
} from './reading/experts.ts'
import { finishGguf, readGgufDecoder } from './reading/gguf-decoder.ts'
import { finishJson, readJsonDecoder } from './reading/json-decoder.ts'
import { readJsonWindow, readLayerTypes, windowedLayers } from './reading/layer-kinds.ts'
import { jsonRmsNorm } from './reading/norms.ts'

export const qwen2Moe: ModelDefinition = defineDecoder({
  modelType: 'qwen2_moe',
  readers: {
    gguf: { architecture: 'qwen2moe', read: readGguf },
    safetensors: { architecture: 'qwen2_moe', read: readJson },
  },
  names: extended(namesWith(ROUTER_NAMES, sharedExpertNames('mlp.shared_expert')), {
    gguf: {
      experts: {
        ...GGUF_EXPERTS,
        sharedGate: 'ffn_gate_inp_shexp.weight',
      },
    },
    safetensors: {
      experts: {
        ...QWEN_EXPERTS,
        sharedGate: 'mlp.shared_expert_gate.weight',
      },
    },
  }),
  layer: preNorm(attention, expertMlp),
})

function readJson(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readJsonDecoder(checkpoint, {
    modelType: 'qwen2_moe',
    className: 'Qwen2MoeForCausalLM',
    sizes: { maxContextTokens: 32_768, isTied: false, numKvHeads: 16 },
    theta: 10_000,
    norm: (keys) => jsonRmsNorm(keys, 1e-6),
  })
  const numExperts = readJsonExpertCount(keys, ['num_experts', 'num_local_experts'], 60)
  return finishJson(keys, {
    ...config,
    biases: { ...config.biases, qkv: keys.flag('qkv_bias', true) },
    layers: withQwenDenseLayers(keys, readLayers(keys, config.numLayers)),
    experts: {
      numExperts,
      size: keys.integer('moe_intermediate_size', SIZE, 1408),
      router: {
        scoring: 'softmax',
        topK: readTopK(keys, 'num_experts_per_tok', numExperts, 4),
        normalize: keys.flag('norm_topk_prob', false),
      },
      hasCorrection: false,
      hasBias: false,
      shared: {
        size: keys.integer('shared_expert_intermediate_size', SIZE, 5632),
        isGated: true,
      },
      unit: { kind: config.activation },
    },
  })
}

/** Unlike the dense Qwens', every second layer before `max_window_layers` has the window. */
function readLayers(keys: ConfigKeys, numLayers: number): ModelConfig['layers'] {
  const isUsed = keys.flag('use_sliding_window', false)
  const firstFull = keys.integer('max_window_layers', { least: 0, most: 4096 }, 28)
  if (!isUsed) keys.ignore('sliding_window')
  const window = isUsed ? readJsonWindow(keys, 4096) : null
  const slides = readLayerTypes(
    keys,
    numLayers,
    (layer) => window !== null && layer % 2 === 0 && layer < firstFull,
  )
  return windowedLayers(keys, slides, window)
}

function readGguf(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readGgufDecoder(checkpoint, {
    modelType: 'qwen2_moe',
    architecture: 'qwen2moe',
    style: 'half',
    norm: 'rms',
  })
  const { numExperts, topK, size } = readGgufExperts(
    keys,
    Math.floor(config.intermediateSize / keys.integer('expert_used_count', SIZE)),
  )
  const sharedSize = keys.integer(
    'expert_shared_feed_forward_length',
    SIZE,
    config.intermediateSize,
  )
  return finishGguf(keys, {
    ...config,
    experts: {
      numExperts,
      size,
      router: { scoring: 'softmax', topK, normalize: false },
      hasCorrection: false,
      hasBias: false,
      shared: { size: sharedSize, isGated: true },
      unit: { kind: config.activation },
    },
  })
}
