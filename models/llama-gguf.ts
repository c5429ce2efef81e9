/**
 * `ModelConfig` of a GGUF file of architecture `llama`. Reads metadata and the embedding's shape; no other tensor.
 *
 * Every `llama.*` key is read, known to be about something else, or refused. Source: ggml `docs/gguf.md` and
 * llama.cpp's `llm_load_hparams`, whose defaults for absent keys are repeated here.
 */

import type { Checkpoint } from '../src/checkpoint/checkpoint.ts'
import { ConfigKeys } from './config-keys.ts'
import { ggufEosTokenIds } from './eos-token-ids.ts'
import { modelError } from './errors.ts'
import { LLAMA_NAMES, ROPE_FACTORS_TENSOR } from './llama-tensors.ts'
import type { ModelConfig, RopeScaling } from './model-config.ts'
import { tensorOf } from './tensor-check.ts'

/** Bounds that keep products of sizes within 2^53; far above any published model. */
const SIZE = { least: 1, most: 1 << 20 }
const COUNT = { least: 1, most: 4096 }
const CONTEXT = { least: 2, most: 1 << 27 }
/** They name the file's layout, its training, or repeat what other keys say. */
const ALLOWED = ['rope.scaling.original_context_length', 'rope.scaling.finetuned']

export function readLlamaGguf(checkpoint: Checkpoint): ModelConfig {
  const keys = ConfigKeys.ofGguf(checkpoint, 'llama')
  const hiddenSize = keys.integer('embedding_length', SIZE)
  const numHeads = keys.integer('attention.head_count', COUNT)
  const numKvHeads = keys.integer('attention.head_count_kv', COUNT, numHeads)
  if (numHeads % numKvHeads !== 0) {
    throw keys.unsupported('attention.head_count_kv', numKvHeads, `a divisor of ${numHeads}`)
  }
  const headDim = keys.integer('attention.key_length', SIZE, hiddenSize / numHeads)
  if (!Number.isInteger(headDim)) {
    throw keys.unsupported('attention.head_count', numHeads, `a divisor of ${hiddenSize}`)
  }
  keys.neutral('attention.value_length', [headDim])
  const rotaryDim = keys.integer('rope.dimension_count', { least: 2, most: headDim }, headDim)
  if (rotaryDim % 2 !== 0) throw keys.unsupported('rope.dimension_count', rotaryDim, 'even')
  const vocabSize = readVocabSize(checkpoint, keys)
  const config: ModelConfig = {
    modelType: 'llama',
    hiddenSize,
    numLayers: keys.integer('block_count', COUNT),
    numHeads,
    numKvHeads,
    headDim,
    intermediateSize: keys.integer('feed_forward_length', SIZE),
    rmsNormEpsilon: keys.number('attention.layer_norm_rms_epsilon', { least: 0, most: 1 }),
    ropeTheta: keys.number('rope.freq_base', { least: 1, most: 1e12 }, 10_000),
    ropeScaling: readRopeScaling(checkpoint, keys),
    rotaryDim,
    // Converters permute q and k so that pairs lie side by side.
    ropeStyle: 'interleaved',
    tieWordEmbeddings: !checkpoint.tensors.has(LLAMA_NAMES.gguf.head),
    vocabSize,
    maxContextTokens: keys.integer('context_length', CONTEXT),
    eosTokenIds: ggufEosTokenIds(checkpoint, vocabSize),
  }
  refuseOthers(keys, config)
  return config
}

function readVocabSize(checkpoint: Checkpoint, keys: ConfigKeys): number {
  const [rows = 0] = tensorOf(checkpoint, LLAMA_NAMES.gguf.embedding).shape
  const stated = keys.integer('vocab_size', { least: 1, most: 1 << 24 }, rows)
  if (stated === rows) return rows
  throw modelError('MODEL_BAD_METADATA', {
    details: {
      file: checkpoint.files[0] ?? '',
      key: 'llama.vocab_size',
      expected: `${rows}, the rows of token_embd.weight,`,
      got: stated,
    },
  })
}

/** Without a type, a factor means linear scaling; with type `none`, a factor means nothing. */
function readRopeScaling(checkpoint: Checkpoint, keys: ConfigKeys): RopeScaling {
  const type = keys.text('rope.scaling.type', 'linear')
  if (type !== 'linear' && type !== 'none') {
    throw keys.unsupported('rope.scaling.type', type, 'linear or none')
  }
  const range = { least: 0, most: 1 << 20 }
  const legacyFactor = keys.number('rope.scale_linear', range, 0)
  const factor = keys.number('rope.scaling.factor', range, 0) || legacyFactor
  return {
    linearFactor: type === 'none' || factor === 0 ? 1 : factor,
    factorsTensor: checkpoint.tensors.has(ROPE_FACTORS_TENSOR) ? ROPE_FACTORS_TENSOR : null,
  }
}

/** Keys of related architectures that some converters write with the value that changes nothing. */
function refuseOthers(keys: ConfigKeys, config: ModelConfig): void {
  keys.neutral('expert_count', [0])
  keys.neutral('expert_used_count', [0])
  keys.neutral('attention.causal', [true])
  keys.neutral('attention.clamp_kqv', [0])
  keys.neutral('attention.max_alibi_bias', [0])
  keys.neutral('attention.sliding_window', [0, config.maxContextTokens])
  keys.neutral('attention.scale', [0])
  keys.neutral('logit_scale', [0, 1])
  keys.neutral('residual_scale', [0, 1])
  keys.neutral('embedding_scale', [0, 1])
  keys.neutral('use_parallel_residual', [false])
  keys.neutral('rope.scaling.attn_factor', [0, 1])
  keys.neutral('tensor_data_layout', ['Meta AI original pth'])
  keys.refuseUnread(ALLOWED)
}
