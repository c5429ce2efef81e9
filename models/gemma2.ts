/**
 * Architecture `gemma2`: norms before and after each half of a layer, soft caps of the attention's scores and of the
 * logits, gelu gates, scaled embeddings; every other layer sees a window only.
 *
 * Norms multiply by 1 + their stored weight; converters to GGUF add the 1. GGUF does not say the attention's scale,
 * which follows from the heads but in the 27B, known by its number of layers.
 *
 * Source: arXiv:2408.00118; transformers, `Gemma2Config`; llama.cpp `gemma2.cpp`.
 */

import type { Checkpoint } from '../src/checkpoint/checkpoint.ts'
import { attention } from './blocks/attention.ts'
import { defineDecoder } from './blocks/decoder.ts'
import { gatedMlp } from './blocks/mlp.ts'
import { GEMMA_NORM_NAMES, namesWith } from './blocks/tensor-names.ts'
import { sandwich } from './blocks/wiring.ts'
import type { ModelConfig } from './model-config.ts'
import type { ModelDefinition } from './model-definition.ts'
import { FACTOR } from './reading/bounds.ts'
import { ggufAttentionScale, readGemmaJson } from './reading/gemma.ts'
import { finishGguf, readGgufDecoder } from './reading/gguf-decoder.ts'
import { finishJson } from './reading/json-decoder.ts'
import {
  readGgufPattern,
  readGgufWindow,
  readJsonWindow,
  readLayerTypes,
  windowedLayers,
} from './reading/layer-kinds.ts'

const NUM_LAYERS_OF_27B = 46

export const gemma2: ModelDefinition = defineDecoder({
  modelType: 'gemma2',
  readers: {
    gguf: { architecture: 'gemma2', read: readGguf },
    safetensors: { architecture: 'gemma2', read: readJson },
  },
  names: namesWith(GEMMA_NORM_NAMES),
  layer: sandwich(attention, gatedMlp),
})

function readJson(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readGemmaJson(checkpoint, {
    modelType: 'gemma2',
    className: 'Gemma2ForCausalLM',
    sizes: { maxContextTokens: 8192, isTied: true, numKvHeads: 4, headDim: 256 },
    theta: 10_000,
    attentionSoftcap: 50,
    logitSoftcap: 30,
  })
  const slides = readLayerTypes(keys, config.numLayers, (layer) => layer % 2 === 0)
  const layers = windowedLayers(keys, slides, readJsonWindow(keys, 4096))
  return finishJson(keys, { ...config, layers })
}

function readGguf(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readGgufDecoder(checkpoint, {
    modelType: 'gemma2',
    architecture: 'gemma2',
    style: 'half',
    norm: 'rms',
  })
  const { numLayers, hiddenSize } = config
  const slides = readGgufPattern(keys, numLayers, 2)
  keys.neutral('rope.freq_base_swa', [config.ropes[0]?.theta ?? 0])
  return finishGguf(keys, {
    ...config,
    activation: 'gelu_tanh',
    embeddingScale: Math.sqrt(hiddenSize),
    attentionScale: ggufAttentionScale(config, NUM_LAYERS_OF_27B),
    attentionSoftcap: keys.number('attn_logit_softcapping', FACTOR, 50),
    logitSoftcap: keys.number('final_logit_softcapping', FACTOR, 30),
    layers: windowedLayers(keys, slides, readGgufWindow(keys, 4096)),
  })
}
