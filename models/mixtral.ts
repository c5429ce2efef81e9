/**
 * Architecture `mixtral`: a llama with experts in place of each MLP; a softmax router whose gains are divided by their
 * sum. Converted to GGUF it is a `llama` with experts.
 *
 * Source: arXiv:2401.04088; transformers, `MixtralConfig`; llama.cpp `llama.cpp`.
 */

import type { Checkpoint } from '../src/checkpoint/checkpoint.ts'
import { attention } from './blocks/attention.ts'
import { defineDecoder } from './blocks/decoder.ts'
import { GGUF_EXPERTS } from './blocks/expert-names.ts'
import { expertMlp } from './blocks/experts.ts'
import { extended, namesWith } from './blocks/tensor-names.ts'
import { preNorm } from './blocks/wiring.ts'
import { type ExpertsConfig, equalLayers, type ModelConfig } from './model-config.ts'
import type { ModelDefinition } from './model-definition.ts'
import { readGgufExperts, readJsonExpertCount, readTopK } from './reading/experts.ts'
import { finishGguf, readGgufDecoder } from './reading/gguf-decoder.ts'
import { finishJson, readJsonDecoder } from './reading/json-decoder.ts'
import { readJsonWindow } from './reading/layer-kinds.ts'
import { jsonRmsNorm } from './reading/norms.ts'

export const mixtral: ModelDefinition = defineDecoder({
  modelType: 'mixtral',
  readers: {
    gguf: { architecture: 'llama', read: readGguf },
    safetensors: { architecture: 'mixtral', read: readJson },
  },
  claims: ({ kind, metadata }) => kind === 'safetensors' || isPositive(metadata, 'expert_count'),
  names: extended(
    namesWith({
      gguf: { ffn_gate_inp: 'ffn_gate_inp' },
      safetensors: { ffn_gate_inp: 'block_sparse_moe.gate' },
    }),
    {
      gguf: { experts: GGUF_EXPERTS },
      safetensors: {
        experts: {
          gateUp: [
            'block_sparse_moe.experts.{}.w1.weight',
            'block_sparse_moe.experts.{}.w3.weight',
          ],
          down: 'block_sparse_moe.experts.{}.w2.weight',
        },
      },
    },
  ),
  layer: preNorm(attention, expertMlp),
  isPairedInGguf: true,
})

function isPositive(metadata: Checkpoint['metadata'], key: string): boolean {
  const count = metadata.get(`llama.${key}`)
  return typeof count === 'number' && count > 0
}

function readJson(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readJsonDecoder(checkpoint, {
    modelType: 'mixtral',
    className: 'MixtralForCausalLM',
    sizes: { maxContextTokens: 131_072, isTied: false, numKvHeads: 8 },
    theta: 1_000_000,
    norm: (keys) => jsonRmsNorm(keys, 1e-5),
  })
  const window = readJsonWindow(keys, null)
  const numExperts = readJsonExpertCount(keys, ['num_local_experts', 'num_experts'], 8)
  const topK = readTopK(keys, 'num_experts_per_tok', numExperts, 2)
  keys.ignore('router_jitter_noise') // of training
  return finishJson(keys, {
    ...config,
    layers: equalLayers(config.numLayers, { rope: 0, window }),
    experts: expertsOf(config, { numExperts, topK, size: config.intermediateSize }),
  })
}

function readGguf(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readGgufDecoder(checkpoint, {
    modelType: 'mixtral',
    architecture: 'llama',
    // Converters permute q and k so that pairs lie side by side.
    style: 'interleaved',
    norm: 'rms',
  })
  const experts = readGgufExperts(keys, config.intermediateSize)
  return finishGguf(keys, { ...config, experts: expertsOf(config, experts) })
}

function expertsOf(
  { activation: kind }: ModelConfig,
  { numExperts, topK, size }: { numExperts: number; topK: number; size: number },
): ExpertsConfig {
  return {
    numExperts,
    size,
    router: { scoring: 'softmax', topK, normalize: true },
    hasCorrection: false,
    hasBias: false,
    shared: null,
    unit: { kind },
  }
}
