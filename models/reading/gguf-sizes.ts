/**
 * The sizes that every GGUF architecture says under the same keys. Reads metadata and the embedding's shape; no other
 * tensor. Source: ggml `docs/gguf.md` and llama.cpp's `load_hparams`, whose defaults for absent keys are repeated here.
 */

import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'
import { STANDARD_NAMES } from '../blocks/tensor-names.ts'
import { modelError } from '../errors.ts'
import { tensorOf } from '../tensor-check.ts'
import { CONTEXT, COUNT, SIZE, VOCABULARY } from './bounds.ts'
import type { ConfigKeys } from './config-keys.ts'
import { ggufEosTokenIds } from './eos-token-ids.ts'
import type { Sizes } from './json-sizes.ts'

export interface GgufSizeOptions {
  /** Values need not be as wide as keys; the architecture reads their width itself. */
  readonly hasOwnValueLength?: boolean
}

/** @throws ServingError MODEL_BAD_METADATA, MODEL_UNSUPPORTED_FEATURE */
export function readGgufSizes(
  keys: ConfigKeys,
  checkpoint: Checkpoint,
  { hasOwnValueLength = false }: GgufSizeOptions = {},
): Sizes {
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
  if (!hasOwnValueLength) keys.neutral('attention.value_length', [headDim])
  const vocabSize = readVocabSize(checkpoint, keys)
  return {
    hiddenSize,
    numLayers: keys.integer('block_count', COUNT),
    numHeads,
    numKvHeads,
    headDim,
    intermediateSize: keys.integer('feed_forward_length', SIZE),
    vocabSize,
    maxContextTokens: keys.integer('context_length', CONTEXT),
    eosTokenIds: ggufEosTokenIds(checkpoint, vocabSize),
    tieWordEmbeddings: !checkpoint.tensors.has(STANDARD_NAMES.gguf.head),
  }
}

function readVocabSize(checkpoint: Checkpoint, keys: ConfigKeys): number {
  const [rows = 0] = tensorOf(checkpoint, STANDARD_NAMES.gguf.embedding).shape
  const stated = keys.integer('vocab_size', VOCABULARY, rows)
  if (stated === rows) return rows
  throw modelError('MODEL_BAD_METADATA', {
    details: {
      file: checkpoint.files[0] ?? '',
      key: keys.pathOf('vocab_size'),
      expected: `${rows}, the rows of token_embd.weight,`,
      got: stated,
    },
  })
}
