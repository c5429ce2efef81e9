/**
 * The sizes that nearly every `config.json` says under the same names, with an architecture's own defaults for absent
 * members. Source: the configuration classes of transformers.
 */

import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'
import type { ModelConfig } from '../model-config.ts'
import { CONTEXT, COUNT, SIZE, VOCABULARY } from './bounds.ts'
import type { ConfigKeys } from './config-keys.ts'
import { jsonEosTokenIds } from './eos-token-ids.ts'

export type Sizes = Pick<
  ModelConfig,
  | 'hiddenSize'
  | 'numLayers'
  | 'numHeads'
  | 'numKvHeads'
  | 'headDim'
  | 'intermediateSize'
  | 'vocabSize'
  | 'maxContextTokens'
  | 'eosTokenIds'
  | 'tieWordEmbeddings'
>

export interface SizeDefaults {
  readonly maxContextTokens: number
  readonly isTied: boolean
  readonly numHeads?: number
  /** When the member is absent; `null`, as an absent default, is as many as heads. */
  readonly numKvHeads?: number
  /** Absent = hidden size / heads. */
  readonly headDim?: number
  readonly vocabSize?: number
}

/** @throws ServingError MODEL_BAD_METADATA, MODEL_UNSUPPORTED_FEATURE */
export function readJsonSizes(
  keys: ConfigKeys,
  checkpoint: Checkpoint,
  defaults: SizeDefaults,
): Sizes {
  const hiddenSize = keys.integer('hidden_size', SIZE)
  const numHeads = keys.integer('num_attention_heads', COUNT, defaults.numHeads)
  const kvFallback = keys.isNull('num_key_value_heads')
    ? numHeads
    : (defaults.numKvHeads ?? numHeads)
  const numKvHeads = keys.integer('num_key_value_heads', COUNT, kvFallback)
  if (numHeads % numKvHeads !== 0) {
    throw keys.unsupported('num_key_value_heads', numKvHeads, `a divisor of ${numHeads}`)
  }
  const headDim = keys.integer('head_dim', SIZE, defaults.headDim ?? hiddenSize / numHeads)
  if (!Number.isInteger(headDim)) {
    throw keys.unsupported('num_attention_heads', numHeads, `a divisor of ${hiddenSize}`)
  }
  if (headDim % 2 !== 0) throw keys.unsupported('head_dim', headDim, 'an even number')
  const vocabSize = keys.integer('vocab_size', VOCABULARY, defaults.vocabSize)
  const isTied = keys.flag('tie_word_embeddings', defaults.isTied)
  return {
    hiddenSize,
    numLayers: keys.integer('num_hidden_layers', COUNT),
    numHeads,
    numKvHeads,
    headDim,
    intermediateSize: keys.integer('intermediate_size', SIZE),
    vocabSize,
    maxContextTokens: keys.integer('max_position_embeddings', CONTEXT, defaults.maxContextTokens),
    eosTokenIds: jsonEosTokenIds(keys, vocabSize),
    // A head that is stored goes before the tie, as in transformers: it differs, or tying changes nothing.
    tieWordEmbeddings: isTied && !checkpoint.tensors.has('lm_head.weight'),
  }
}
