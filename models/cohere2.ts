/**
 * Architecture `cohere2`: Command R7B and Command A. Attention and MLP side by side behind one norm of mean and
 * variance; three of four layers see a window and rotate positions in, the fourth sees all and rotates nothing.
 *
 * Source: arXiv:2504.00698; transformers, `Cohere2Config`; llama.cpp `cohere2.cpp`.
 */

import type { Checkpoint } from '../src/checkpoint/checkpoint.ts'
import { attention } from './blocks/attention.ts'
import { defineDecoder } from './blocks/decoder.ts'
import { gatedMlp } from './blocks/mlp.ts'
import { namesWith } from './blocks/tensor-names.ts'
import { parallel } from './blocks/wiring.ts'
import type { LayerConfig, ModelConfig } from './model-config.ts'
import type { ModelDefinition } from './model-definition.ts'
import { FACTOR } from './reading/bounds.ts'
import { finishGguf, readGgufDecoder } from './reading/gguf-decoder.ts'
import { finishJson, readJsonDecoder } from './reading/json-decoder.ts'
import {
  readGgufPattern,
  readGgufWindow,
  readJsonWindow,
  readLayerTypes,
  windowedLayers,
} from './reading/layer-kinds.ts'
import { jsonLayerNorm } from './reading/norms.ts'

const FULL_EVERY = 4

export const cohere2: ModelDefinition = defineDecoder({
  modelType: 'cohere2',
  readers: {
    gguf: { architecture: 'cohere2', read: readGguf },
    safetensors: { architecture: 'cohere2', read: readJson },
  },
  names: namesWith({ gguf: { ffn_norm: null }, safetensors: { ffn_norm: null } }),
  layer: parallel(attention, gatedMlp),
})

function readJson(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readJsonDecoder(checkpoint, {
    modelType: 'cohere2',
    className: 'Cohere2ForCausalLM',
    sizes: { maxContextTokens: 8192, isTied: true },
    theta: 10_000,
    norm: (keys) => jsonLayerNorm(keys, 'layer_norm_eps', 1e-5),
    rope: () => ({ style: 'interleaved' }),
  })
  const hasBias = keys.flag('attention_bias', false)
  const every = keys.integer('sliding_window_pattern', { least: 1, most: 4096 }, FULL_EVERY)
  const slides = readLayerTypes(keys, config.numLayers, (layer) => (layer + 1) % every !== 0)
  const layers = windowedLayers(keys, slides, readJsonWindow(keys, 4096))
  // What the published checkpoints say besides, of which transformers has one way only.
  keys.neutral('layer_switch', [every])
  keys.neutral('order_of_interleaved_layers', ['local_attn_first'])
  keys.neutral('position_embedding_type', ['rope_gptj'])
  keys.neutral('rotary_pct', [1])
  keys.neutral('use_gated_activation', [true])
  keys.neutral('use_parallel_block', [true])
  keys.neutral('use_embedding_sharing', [true])
  keys.neutral('use_qk_norm', [false])
  return finishJson(
    keys,
    {
      ...config,
      biases: { ...config.biases, qkv: hasBias, attentionOutput: hasBias },
      logitScale: keys.number('logit_scale', FACTOR, 0.0625),
      layers: layers.map((layer, index) => rotatedIf(slides[index], layer)),
    },
    ['use_parallel_embedding'],
  )
}

function readGguf(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readGgufDecoder(checkpoint, {
    modelType: 'cohere2',
    architecture: 'cohere2',
    style: 'interleaved',
    norm: 'layer',
  })
  const slides = readGgufPattern(keys, config.numLayers, FULL_EVERY)
  const layers = windowedLayers(keys, slides, readGgufWindow(keys))
  return finishGguf(keys, {
    ...config,
    logitScale: keys.number('logit_scale', FACTOR),
    layers: layers.map((layer, index) => rotatedIf(slides[index], layer)),
  })
}

function rotatedIf(slides: boolean | undefined, layer: LayerConfig): LayerConfig {
  return slides === true ? layer : { ...layer, rope: null }
}
