/**
 * `ModelConfig` of a Hugging Face folder of model type `llama`. Reads `config.json` and which tensors there are.
 *
 * Every member is read, known to be about something else, or refused. Source: transformers, `LlamaConfig`, whose
 * defaults for absent members are repeated here.
 */

import type { Checkpoint } from '../src/checkpoint/checkpoint.ts'
import { ConfigKeys } from './config-keys.ts'
import { jsonEosTokenIds } from './eos-token-ids.ts'
import { NOT_COMPUTED } from './json-members.ts'
import { LLAMA_NAMES } from './llama-tensors.ts'
import type { ModelConfig } from './model-config.ts'
import { readRopeParameters } from './rope-parameters.ts'

/** Bounds that keep products of sizes within 2^53; far above any published model. */
const SIZE = { least: 1, most: 1 << 20 }
const COUNT = { least: 1, most: 4096 }
const VOCABULARY = { least: 1, most: 1 << 24 }
const CONTEXT = { least: 2, most: 1 << 27 }
/** Of `LlamaConfig`. */
const DEFAULT_CONTEXT = 2048
const DEFAULT_THETA = 10_000
const DEFAULT_EPSILON = 1e-6

/** @throws ServingError MODEL_BAD_METADATA, MODEL_UNSUPPORTED_FEATURE */
export function readLlamaSafetensors(checkpoint: Checkpoint): ModelConfig {
  const keys = ConfigKeys.ofJson(checkpoint, 'llama')
  keys.neutral('model_type', ['llama'])
  keys.includes('architectures', 'LlamaForCausalLM')
  const hiddenSize = keys.integer('hidden_size', SIZE)
  const numHeads = keys.integer('num_attention_heads', COUNT)
  const numKvHeads = keys.integer('num_key_value_heads', COUNT, numHeads)
  if (numHeads % numKvHeads !== 0) {
    throw keys.unsupported('num_key_value_heads', numKvHeads, `a divisor of ${numHeads}`)
  }
  const headDim = keys.integer('head_dim', SIZE, hiddenSize / numHeads)
  if (!Number.isInteger(headDim)) {
    throw keys.unsupported('num_attention_heads', numHeads, `a divisor of ${hiddenSize}`)
  }
  if (headDim % 2 !== 0) throw keys.unsupported('head_dim', headDim, 'an even number')
  const vocabSize = keys.integer('vocab_size', VOCABULARY)
  const maxContextTokens = keys.integer('max_position_embeddings', CONTEXT, DEFAULT_CONTEXT)
  const geometry = { rotaryDim: headDim, maxContextTokens, defaultTheta: DEFAULT_THETA }
  const { theta: ropeTheta, scaling: ropeScaling } = readRopeParameters(keys, geometry)
  const isTied = keys.flag('tie_word_embeddings', false)
  const config: ModelConfig = {
    modelType: 'llama',
    hiddenSize,
    numLayers: keys.integer('num_hidden_layers', COUNT),
    numHeads,
    numKvHeads,
    headDim,
    intermediateSize: keys.integer('intermediate_size', SIZE),
    hasAttentionBias: keys.flag('attention_bias', false),
    hasMlpBias: keys.flag('mlp_bias', false),
    rmsNormEpsilon: keys.number('rms_norm_eps', { least: 0, most: 1 }, DEFAULT_EPSILON),
    ropeTheta,
    ropeScaling,
    rotaryDim: headDim,
    ropeStyle: 'half',
    // A head that is stored goes before the tie, as in transformers: it differs, or tying changes nothing.
    tieWordEmbeddings: isTied && !checkpoint.tensors.has(LLAMA_NAMES.safetensors.head),
    vocabSize,
    maxContextTokens,
    eosTokenIds: jsonEosTokenIds(keys, vocabSize),
  }
  refuseOthers(keys)
  return config
}

/** Members whose other values are other mathematics. */
function refuseOthers(keys: ConfigKeys): void {
  keys.neutral('hidden_act', ['silu'])
  keys.neutral('pretraining_tp', [1])
  keys.neutral('rope_interleaved', [false])
  keys.neutral('is_encoder_decoder', [false])
  keys.neutral('add_cross_attention', [false])
  keys.neutral('sliding_window', [])
  keys.refuseUnread(NOT_COMPUTED)
}
