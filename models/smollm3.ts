/**
 * Architecture `smollm3`: a llama in which every fourth layer, or those that the configuration lists, rotates no
 * positions in.
 *
 * GGUF does not say which layers; every fourth, as llama.cpp has it.
 *
 * Source: arXiv:2501.18795 (layers without positions); transformers, `SmolLM3Config`; llama.cpp `smollm3.cpp`.
 */

import type { Checkpoint } from '../src/checkpoint/checkpoint.ts'
import { attention } from './blocks/attention.ts'
import { defineDecoder } from './blocks/decoder.ts'
import { gatedMlp } from './blocks/mlp.ts'
import { STANDARD_NAMES } from './blocks/tensor-names.ts'
import { preNorm } from './blocks/wiring.ts'
import type { ModelConfig } from './model-config.ts'
import type { ModelDefinition } from './model-definition.ts'
import type { ConfigKeys } from './reading/config-keys.ts'
import { finishGguf, readGgufDecoder } from './reading/gguf-decoder.ts'
import { finishJson, readJsonDecoder } from './reading/json-decoder.ts'
import { everyNth, readJsonWindow, readLayerTypes, windowedLayers } from './reading/layer-kinds.ts'
import { jsonRmsNorm } from './reading/norms.ts'

const UNROTATED_EVERY = 4
/** Members of llama's configuration that the published checkpoint carries along, and nothing reads. */
const UNUSED = ['max_window_layers', 'pretraining_tp']

export const smollm3: ModelDefinition = defineDecoder({
  modelType: 'smollm3',
  readers: {
    gguf: { architecture: 'smollm3', read: readGguf },
    safetensors: { architecture: 'smollm3', read: readJson },
  },
  names: STANDARD_NAMES,
  layer: preNorm(attention, gatedMlp),
  isPairedInGguf: true,
})

function readJson(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readJsonDecoder(checkpoint, {
    modelType: 'smollm3',
    className: 'SmolLM3ForCausalLM',
    sizes: { maxContextTokens: 32_768, isTied: true, numKvHeads: 4 },
    theta: 2_000_000,
    norm: (keys) => jsonRmsNorm(keys, 1e-6),
  })
  const hasBias = keys.flag('attention_bias', false)
  const mlp = keys.flag('mlp_bias', false)
  const rotates = readRotatedLayers(keys, config.numLayers)
  const isWindowed = keys.flag('use_sliding_window', false)
  const window = readJsonWindow(keys, null)
  const slides = readLayerTypes(
    keys,
    config.numLayers,
    (layer) => isWindowed && window !== null && !rotates[layer],
  )
  const layers = windowedLayers(keys, slides, window)
  for (const key of UNUSED) keys.ignore(key)
  return finishJson(keys, {
    ...config,
    biases: { ...config.biases, qkv: hasBias, attentionOutput: hasBias, mlp },
    layers: layers.map((layer, index) => ({ ...layer, rope: rotates[index] ? 0 : null })),
  })
}

/** `no_rope_layers` has a 1 for a layer that rotates, in spite of its name. */
function readRotatedLayers(keys: ConfigKeys, numLayers: number): readonly boolean[] {
  const every = keys.integer('no_rope_layer_interval', { least: 1, most: 4096 }, UNROTATED_EVERY)
  const stated = keys.integers('no_rope_layers', { least: 0, most: 1 })
  if (stated === null) return everyNth(numLayers, every)
  if (stated.length >= numLayers) return stated.slice(0, numLayers).map((each) => each === 1)
  throw keys.bad('no_rope_layers', `${numLayers} numbers`, stated)
}

function readGguf(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readGgufDecoder(checkpoint, {
    modelType: 'smollm3',
    architecture: 'smollm3',
    // Converters permute q and k so that pairs lie side by side.
    style: 'interleaved',
    norm: 'rms',
  })
  const rotates = everyNth(config.numLayers, UNROTATED_EVERY)
  return finishGguf(keys, {
    ...config,
    layers: rotates.map((isRotated) => ({ rope: isRotated ? 0 : null, window: null })),
  })
}
