/**
 * Architecture `gpt_oss`: experts with biases and a clamped gate in every layer, chosen by a softmax over the chosen
 * logits; attention with sinks, a window in every second layer, and YaRN whose ramp is not rounded to whole pairs.
 *
 * GGUF says nothing of that rounding, and its readers round; the models were trained without, so it is left out here too.
 *
 * Source: gpt-oss model card, arXiv:2508.10925; transformers, `GptOssConfig`; llama.cpp `openai-moe.cpp`.
 */

import type { Checkpoint } from '../src/checkpoint/checkpoint.ts'
import { attention } from './blocks/attention.ts'
import { defineDecoder } from './blocks/decoder.ts'
import { GGUF_EXPERTS } from './blocks/expert-names.ts'
import { expertMlp } from './blocks/experts.ts'
import { extended, namesWith } from './blocks/tensor-names.ts'
import { preNorm } from './blocks/wiring.ts'
import type { ExpertsConfig, ModelConfig } from './model-config.ts'
import type { ModelDefinition } from './model-definition.ts'
import { FACTOR } from './reading/bounds.ts'
import {
  type ExpertSizes,
  readGgufExperts,
  readJsonExpertCount,
  readTopK,
} from './reading/experts.ts'
import { finishGguf, readGgufDecoder } from './reading/gguf-decoder.ts'
import { finishJson, readJsonDecoder } from './reading/json-decoder.ts'
import {
  everyNth,
  readGgufPattern,
  readGgufWindow,
  readJsonWindow,
  readLayerTypes,
  windowedLayers,
} from './reading/layer-kinds.ts'
import { jsonRmsNorm } from './reading/norms.ts'

/** Every which layer sees all keys. */
const FULL_EVERY = 2
const ALPHA = 1.702
const LIMIT = 7

export const gptOss: ModelDefinition = defineDecoder({
  modelType: 'gpt_oss',
  readers: {
    gguf: { architecture: 'gpt-oss', read: readGguf },
    safetensors: { architecture: 'gpt_oss', read: readJson },
  },
  names: extended(
    namesWith({
      gguf: { ffn_norm: 'post_attention_norm', ffn_gate_inp: 'ffn_gate_inp' },
      safetensors: { ffn_gate_inp: 'mlp.router' },
    }),
    {
      gguf: {
        sinks: 'attn_sinks.weight',
        experts: {
          ...GGUF_EXPERTS,
          gateUpBias: ['ffn_gate_exps.bias', 'ffn_up_exps.bias'],
          downBias: 'ffn_down_exps.bias',
        },
      },
      safetensors: {
        sinks: 'self_attn.sinks',
        experts: {
          gateUp: ['mlp.experts.gate_up_proj'],
          gateUpBias: ['mlp.experts.gate_up_proj_bias'],
          down: 'mlp.experts.down_proj',
          downBias: 'mlp.experts.down_proj_bias',
          layout: 'columns',
          isInterleaved: true,
        },
      },
    },
  ),
  layer: preNorm(attention, expertMlp),
})

function readJson(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readJsonDecoder(checkpoint, {
    modelType: 'gpt_oss',
    className: 'GptOssForCausalLM',
    sizes: { maxContextTokens: 131_072, isTied: false, numKvHeads: 8, headDim: 64 },
    theta: 150_000,
    norm: (keys) => jsonRmsNorm(keys, 1e-5),
  })
  // Without settings transformers assumes a YaRN of its own; a checkpoint that means it says so.
  if (!keys.has('rope_parameters') && !keys.has('rope_scaling')) {
    throw keys.bad('rope_parameters', 'the settings of the rotation', undefined)
  }
  // The activation is not what `hidden_act` says, but the clamped gate.
  const hasBias = keys.flag('attention_bias', true)
  const slides = readLayerTypes(keys, config.numLayers, (layer) => layer % 2 === 0)
  const numExperts = readJsonExpertCount(keys, ['num_local_experts', 'num_experts'], 128)
  const topK = readTopK(keys, 'num_experts_per_tok', numExperts, 4)
  keys.neutral('experts_per_token', [topK])
  keys.ignore('initial_context_length') // `original_max_position_embeddings` by an older name
  const sizes = { numExperts, topK, size: config.intermediateSize }
  const alpha = keys.number('swiglu_alpha', FACTOR, ALPHA)
  const limit = keys.number('swiglu_limit', FACTOR, LIMIT)
  return finishJson(keys, {
    ...config,
    biases: { ...config.biases, qkv: hasBias, attentionOutput: hasBias },
    layers: windowedLayers(keys, slides, readJsonWindow(keys, 128)),
    experts: expertsOf(sizes, { alpha, limit }),
  })
}

function readGguf(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readGgufDecoder(checkpoint, {
    modelType: 'gpt_oss',
    architecture: 'gpt-oss',
    style: 'half',
    norm: 'rms',
    isYarnTruncated: false,
  })
  const { numLayers, intermediateSize } = config
  const slides = keys.has('attention.sliding_window_pattern')
    ? readGgufPattern(keys, numLayers, FULL_EVERY)
    : everyNth(numLayers, FULL_EVERY)
  const sizes = readGgufExperts(keys, intermediateSize)
  return finishGguf(keys, {
    ...config,
    layers: windowedLayers(keys, slides, readGgufWindow(keys)),
    experts: expertsOf(sizes, { alpha: ALPHA, limit: LIMIT }),
  })
}

function expertsOf(
  { numExperts, topK, size }: ExpertSizes,
  { alpha, limit }: { readonly alpha: number; readonly limit: number },
): ExpertsConfig {
  return {
    numExperts,
    size,
    router: { scoring: 'softmax_chosen', topK, normalize: false },
    hasCorrection: false,
    hasBias: true,
    shared: null,
    unit: { kind: 'silu', alpha, limit, upOffset: 1 },
  }
}
