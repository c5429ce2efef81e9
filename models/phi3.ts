/**
 * Architecture `phi3`: Phi-3, Phi-3.5 and Phi-4 mini. A llama with q, k and v in one stored matrix, and gate and up in
 * another; some rotate a part of each head only, and some have LongRoPE, whose contexts end where the short factors do
 * (`rope-scaling.ts` says why).
 *
 * Source: arXiv:2404.14219; transformers, `Phi3Config`; llama.cpp `phi3.cpp`, which leaves the window out.
 */

import type { Checkpoint } from '../src/checkpoint/checkpoint.ts'
import { attention } from './blocks/attention.ts'
import { defineDecoder } from './blocks/decoder.ts'
import { gatedMlp } from './blocks/mlp.ts'
import { JOINED_GATE_UP_NAMES, type NameChanges, namesWith } from './blocks/tensor-names.ts'
import { preNorm } from './blocks/wiring.ts'
import { equalLayers, type ModelConfig } from './model-config.ts'
import type { ModelDefinition } from './model-definition.ts'
import { CONTEXT } from './reading/bounds.ts'
import { finishGguf, readGgufDecoder } from './reading/gguf-decoder.ts'
import { finishJson, readJsonDecoder } from './reading/json-decoder.ts'
import { readGgufWindow, readJsonWindow } from './reading/layer-kinds.ts'
import { jsonRmsNorm } from './reading/norms.ts'

const JOINED_QKV_NAMES: NameChanges = {
  gguf: { attn_q: null, attn_k: null, attn_v: null, attn_qkv: 'attn_qkv' },
  safetensors: { attn_q: null, attn_k: null, attn_v: null, attn_qkv: 'self_attn.qkv_proj' },
}

export const phi3: ModelDefinition = defineDecoder({
  modelType: 'phi3',
  readers: {
    gguf: { architecture: 'phi3', read: readGguf },
    safetensors: { architecture: 'phi3', read: readJson },
  },
  names: namesWith(JOINED_QKV_NAMES, JOINED_GATE_UP_NAMES),
  layer: preNorm(attention, gatedMlp),
})

function readJson(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readJsonDecoder(checkpoint, {
    modelType: 'phi3',
    className: 'Phi3ForCausalLM',
    sizes: { maxContextTokens: 4096, isTied: false },
    theta: 10_000,
    rope: (keys) => ({
      defaultPartial: 1,
      originalContext: keys.integer('original_max_position_embeddings', CONTEXT, 4096),
      typeNames: { su: 'longrope', yarn: 'longrope' },
    }),
    norm: (keys) => jsonRmsNorm(keys, 1e-5),
  })
  const window = readJsonWindow(keys, null)
  // Of the code that came with the checkpoints before transformers had it.
  keys.neutral('attention_bias', [false])
  keys.neutral('mlp_bias', [false])
  keys.neutral('lm_head_bias', [false])
  keys.neutral('full_attn_mod', [1])
  keys.neutral('interpolate_factor', [1])
  return finishJson(keys, { ...config, layers: equalLayers(config.numLayers, { rope: 0, window }) })
}

function readGguf(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readGgufDecoder(checkpoint, {
    modelType: 'phi3',
    architecture: 'phi3',
    style: 'half',
    norm: 'rms',
  })
  const window = readGgufWindow(keys)
  return finishGguf(keys, { ...config, layers: equalLayers(config.numLayers, { rope: 0, window }) })
}
