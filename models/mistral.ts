/**
 * Architecture `mistral`: a llama whose layers may all see only a window of the latest keys. Converted to GGUF it is a
 * `llama`, which says nothing of windows.
 *
 * Source: arXiv:2310.06825; transformers, `MistralConfig`.
 */

import type { Checkpoint } from '../src/checkpoint/checkpoint.ts'
import { attention } from './blocks/attention.ts'
import { defineDecoder } from './blocks/decoder.ts'
import { gatedMlp } from './blocks/mlp.ts'
import { STANDARD_NAMES } from './blocks/tensor-names.ts'
import { preNorm } from './blocks/wiring.ts'
import { equalLayers, type ModelConfig } from './model-config.ts'
import type { ModelDefinition } from './model-definition.ts'
import { finishJson, readJsonDecoder } from './reading/json-decoder.ts'
import { readJsonWindow } from './reading/layer-kinds.ts'
import { jsonRmsNorm } from './reading/norms.ts'

export const mistral: ModelDefinition = defineDecoder({
  modelType: 'mistral',
  readers: { safetensors: { architecture: 'mistral', read: readJson } },
  names: STANDARD_NAMES,
  layer: preNorm(attention, gatedMlp),
})

function readJson(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readJsonDecoder(checkpoint, {
    modelType: 'mistral',
    className: 'MistralForCausalLM',
    sizes: { maxContextTokens: 131_072, isTied: false, numKvHeads: 8 },
    theta: 10_000,
    norm: (keys) => jsonRmsNorm(keys, 1e-6),
  })
  const window = readJsonWindow(keys, 4096)
  return finishJson(keys, { ...config, layers: equalLayers(config.numLayers, { rope: 0, window }) })
}
