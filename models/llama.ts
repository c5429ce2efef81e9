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
import { STANDARD_NAMES } from './blocks/tensor-names.ts'
import { preNorm } from './blocks/wiring.ts'
import type { ModelConfig } from './model-config.ts'
import type { ModelDefinition } from './model-definition.ts'
import { finishGguf, readGgufDecoder } from './reading/gguf-decoder.ts'
import { finishJson, readJsonDecoder } from './reading/json-decoder.ts'
import { jsonRmsNorm } from './reading/norms.ts'

export const llama: ModelDefinition = defineDecoder({
  modelType: 'llama',
  readers: {
    gguf: { architecture: 'llama', read: readGguf },
    safetensors: { architecture: 'llama', read: readJson },
  },
  names: STANDARD_NAMES,
  layer: preNorm(attention, gatedMlp),
  isPairedInGguf: true,
})

function readJson(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readJsonDecoder(checkpoint, {
    modelType: 'llama',
    className: 'LlamaForCausalLM',
    sizes: { maxContextTokens: 2048, isTied: false },
    theta: 10_000,
    norm: (keys) => jsonRmsNorm(keys, 1e-6),
  })
  const hasBias = keys.flag('attention_bias', false)
  const mlp = keys.flag('mlp_bias', false)
  const biases = { qkv: hasBias, attentionOutput: hasBias, mlp, norm: false }
  return finishJson(keys, { ...config, biases })
}

function readGguf(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readGgufDecoder(checkpoint, {
    modelType: 'llama',
    architecture: 'llama',
    // Converters permute q and k so that pairs lie side by side.
    style: 'interleaved',
    norm: 'rms',
  })
  return finishGguf(keys, config)
}
