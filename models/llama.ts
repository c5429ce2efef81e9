/**
 * Architecture `llama`: Llama 1–3, SmolLM, and what is converted to them. RMS norm before each half of a layer, grouped
 * query attention with rotary positions, SwiGLU.
 *
 *   x ── norm ── q,k,v ── attention ── o ──┐         ┌── norm ── gate,up ── swiglu ── down ──┐
 *   └───────────────────────────────────── + ── x ───┴────────────────────────────────────── + ── next layer
 *
 * Source: arXiv:2302.13971; llama.cpp `llm_build_llama`; transformers, `LlamaConfig`.
 */

import type { Checkpoint } from '../src/checkpoint/checkpoint.ts'
import { attention } from './blocks/attention.ts'
import { defineDecoder } from './blocks/decoder.ts'
import { gatedMlp } from './blocks/mlp.ts'
import { ropeBuffers } from './blocks/rope-buffers.ts'
import { STANDARD_NAMES } from './blocks/tensor-names.ts'
import { preNorm } from './blocks/wiring.ts'
import { equalLayers, type ModelConfig, PLAIN } from './model-config.ts'
import type { ModelDefinition } from './model-definition.ts'
import { EPSILON } from './reading/bounds.ts'
import { ConfigKeys } from './reading/config-keys.ts'
import { readGgufRope } from './reading/gguf-rope.ts'
import { readGgufSizes, refuseOtherGguf } from './reading/gguf-sizes.ts'
import { refuseOtherJson } from './reading/json-others.ts'
import { readJsonRope } from './reading/json-rope.ts'
import { readJsonSizes } from './reading/json-sizes.ts'

export const llama: ModelDefinition = defineDecoder({
  modelType: 'llama',
  readers: {
    gguf: { architecture: 'llama', read: readGguf },
    safetensors: { architecture: 'llama', read: readJson },
  },
  names: STANDARD_NAMES,
  layer: preNorm(attention, gatedMlp),
  unread: ropeBuffers,
})

function readJson(checkpoint: Checkpoint): ModelConfig {
  const keys = ConfigKeys.ofJson(checkpoint, 'llama')
  keys.includes('architectures', 'LlamaForCausalLM')
  const sizes = readJsonSizes(keys, checkpoint, { maxContextTokens: 2048, isTied: false })
  const { rope, maxContextTokens } = readJsonRope(keys, { ...sizes, defaultTheta: 10_000 })
  const attentionBias = keys.flag('attention_bias', false)
  const config: ModelConfig = {
    ...PLAIN,
    modelType: 'llama',
    ...sizes,
    maxContextTokens,
    biases: {
      qkv: attentionBias,
      attentionOutput: attentionBias,
      mlp: keys.flag('mlp_bias', false),
      norm: false,
    },
    norm: { kind: 'rms', epsilon: keys.number('rms_norm_eps', EPSILON, 1e-6), weightOffset: 0 },
    ropes: [rope],
    layers: equalLayers(sizes.numLayers, { rope: 0, window: null }),
    attentionScale: 1 / Math.sqrt(sizes.headDim),
  }
  keys.neutral('hidden_act', ['silu'])
  refuseOtherJson(keys)
  return config
}

function readGguf(checkpoint: Checkpoint): ModelConfig {
  const keys = ConfigKeys.ofGguf(checkpoint, 'llama')
  const sizes = readGgufSizes(keys, checkpoint)
  // Converters permute q and k so that pairs lie side by side.
  const rope = readGgufRope(keys, checkpoint, { headDim: sizes.headDim, style: 'interleaved' })
  const config: ModelConfig = {
    ...PLAIN,
    modelType: 'llama',
    ...sizes,
    biases: { qkv: 'optional', attentionOutput: 'optional', mlp: 'optional', norm: false },
    norm: {
      kind: 'rms',
      epsilon: keys.number('attention.layer_norm_rms_epsilon', EPSILON),
      weightOffset: 0,
    },
    ropes: [rope],
    layers: equalLayers(sizes.numLayers, { rope: 0, window: null }),
    attentionScale: 1 / Math.sqrt(sizes.headDim),
  }
  refuseOtherGguf(keys, sizes)
  return config
}
