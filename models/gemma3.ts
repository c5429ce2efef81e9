/**
 * Architecture `gemma3_text`, in GGUF `gemma3`: as gemma2, with norms of queries and keys instead of soft caps; five of
 * six layers see a window only, and those have a rope setting of their own.
 *
 * Norms, and the attention's scale in GGUF, are as in `gemma2.ts`.
 *
 * Source: arXiv:2503.19786; transformers, `Gemma3TextConfig`; llama.cpp `gemma3.cpp`.
 */

import type { Checkpoint } from '../src/checkpoint/checkpoint.ts'
import { attention } from './blocks/attention.ts'
import { defineDecoder } from './blocks/decoder.ts'
import { gatedMlp } from './blocks/mlp.ts'
import { GEMMA_NORM_NAMES, namesWith, QK_NORM_NAMES } from './blocks/tensor-names.ts'
import { sandwich } from './blocks/wiring.ts'
import type { LayerConfig, ModelConfig } from './model-config.ts'
import type { ModelDefinition } from './model-definition.ts'
import { FACTOR } from './reading/bounds.ts'
import { ggufAttentionScale, readGemmaJson, readGemmaRopes } from './reading/gemma.ts'
import { finishGguf, readGgufDecoder } from './reading/gguf-decoder.ts'
import { finishJson } from './reading/json-decoder.ts'
import {
  everyNth,
  readGgufPattern,
  readGgufWindow,
  readJsonWindow,
  readLayerTypes,
  windowedLayers,
} from './reading/layer-kinds.ts'

const NUM_LAYERS_OF_27B = 62
const FULL_EVERY = 6
/** Of `ropes`. */
const FULL = 0
const SLIDING = 1

export const gemma3: ModelDefinition = defineDecoder({
  modelType: 'gemma3_text',
  readers: {
    gguf: { architecture: 'gemma3', read: readGguf },
    safetensors: { architecture: 'gemma3_text', read: readJson },
  },
  names: namesWith(GEMMA_NORM_NAMES, QK_NORM_NAMES),
  layer: sandwich(attention, gatedMlp),
})

function readJson(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readGemmaJson(checkpoint, {
    modelType: 'gemma3_text',
    className: 'Gemma3ForCausalLM',
    sizes: {
      maxContextTokens: 131_072,
      isTied: true,
      numHeads: 8,
      numKvHeads: 4,
      headDim: 256,
      vocabSize: 262_208,
    },
    theta: null,
    attentionSoftcap: null,
    logitSoftcap: null,
  })
  // A member that transformers has and does not apply.
  keys.neutral('attn_logit_softcapping', [])
  const ropes = readGemmaRopes(keys, config)
  keys.ignore('_sliding_window_pattern') // what `layer_types` was made from
  const every = keys.integer('sliding_window_pattern', { least: 1, most: 4096 }, FULL_EVERY)
  const slides = readLayerTypes(keys, config.numLayers, (layer) => (layer + 1) % every !== 0)
  const layers = windowedLayers(keys, slides, readJsonWindow(keys, 4096))
  return finishJson(keys, {
    ...config,
    ...ropes,
    qkNorm: 'head',
    layers: ownRopes(layers, slides),
  })
}

function readGguf(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readGgufDecoder(checkpoint, {
    modelType: 'gemma3_text',
    architecture: 'gemma3',
    style: 'half',
    norm: 'rms',
  })
  const { numLayers, hiddenSize, ropes } = config
  const window = readGgufWindow(keys)
  const slides =
    window === null ? everyNth(numLayers, 1) : readGgufPattern(keys, numLayers, FULL_EVERY)
  const theta = keys.number('rope.freq_base_swa', { least: 1, most: 1e12 }, 10_000)
  const sliding = ropes.map((full) => ({ ...full, theta, linearFactor: 1 }))
  return finishGguf(keys, {
    ...config,
    activation: 'gelu_tanh',
    qkNorm: 'head',
    embeddingScale: Math.sqrt(hiddenSize),
    attentionScale: ggufAttentionScale(config, NUM_LAYERS_OF_27B),
    logitSoftcap: keys.has('final_logit_softcapping')
      ? keys.number('final_logit_softcapping', FACTOR)
      : null,
    ropes: [...ropes, ...sliding],
    layers: ownRopes(windowedLayers(keys, slides, window), slides),
  })
}

function ownRopes(
  layers: readonly LayerConfig[],
  slides: readonly boolean[],
): readonly LayerConfig[] {
  return layers.map((layer, index) => ({ ...layer, rope: slides[index] ? SLIDING : FULL }))
}
