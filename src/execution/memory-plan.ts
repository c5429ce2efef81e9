/**
 * From bytes to counts: how many KV blocks the memory holds, and how large every per-step array must be. Pure.
 *
 *   KV bytes     [ block 0 )[ block 1 ) …            numBlocks = floor(kvMemoryBytes / bytes of a block)
 *   logits rows  [ one a sequence )[ prompt logprobs ) the second part as large as 64 MiB of logits allow
 *
 * M1 Every flat index of a step (slots, block tables) fits in 31 bits, because the arrays are int32.
 * M2 There is a logits row for each sequence, so decoding never waits for prompt logprobs.
 */

import { kvBytesPerToken as bytesPerToken, type KvDtype } from '../base/kv-dtype.ts'
import type { BatchLimits } from '../engine/executor.ts'
import type { KvLayer } from '../graph/graph.ts'
import { executionError } from './errors.ts'

export interface MemoryPlanInput {
  readonly kvLayers: readonly KvLayer[]
  readonly kvDtype: KvDtype
  readonly kvMemoryBytes: number
  readonly blockSize: number
  readonly maxNumBatchedTokens: number
  readonly maxNumSeqs: number
  readonly maxContextTokens: number
  readonly vocabSize: number
}

export interface MemoryPlan {
  readonly limits: BatchLimits
  /** K and V of one token over all layers. */
  readonly kvBytesPerToken: number
}

/** Logits that prompt logprobs may add to those of the sequences; 341 rows of a vocabulary of 49,152. */
const LOGITS_BYTES = 64 * 2 ** 20
const MOST_INDICES = 2 ** 31 - 1

/** @throws ServingError EXECUTION_KV_MEMORY_TOO_SMALL, EXECUTION_LIMIT_TOO_LARGE */
export function planMemory(input: MemoryPlanInput): MemoryPlan {
  const { blockSize, maxNumSeqs, maxNumBatchedTokens, vocabSize, kvMemoryBytes } = input
  const kvBytesPerToken = bytesPerToken(input.kvLayers, input.kvDtype)
  const blockBytes = kvBytesPerToken * blockSize
  const fittingBlocks = Math.floor(kvMemoryBytes / blockBytes)
  if (fittingBlocks < 1) {
    const fittingTokens = Math.floor(kvMemoryBytes / kvBytesPerToken)
    throw executionError('EXECUTION_KV_MEMORY_TOO_SMALL', {
      param: 'kvMemoryBytes',
      details: { blockSize, blockBytes, kvMemoryBytes, fittingTokens },
    })
  }
  const maxBlocksPerSeq = Math.ceil(input.maxContextTokens / blockSize)
  checkLimit('maxNumSeqs * maxBlocksPerSeq', maxNumSeqs * maxBlocksPerSeq)
  checkLimit('maxNumBatchedTokens', maxNumBatchedTokens)
  const affordableRows = Math.floor(LOGITS_BYTES / (vocabSize * 4))
  const maxLogitsRows = Math.min(
    maxNumSeqs + maxNumBatchedTokens,
    Math.max(maxNumSeqs + 1, affordableRows),
  )
  const numBlocks = Math.min(fittingBlocks, Math.floor(MOST_INDICES / blockSize))
  const sizes = { maxNumBatchedTokens, maxNumSeqs, maxBlocksPerSeq, maxLogitsRows }
  return { limits: { ...sizes, blockSize, numBlocks, vocabSize }, kvBytesPerToken }
}

function checkLimit(what: string, got: number): void {
  if (got <= MOST_INDICES) return
  throw executionError('EXECUTION_LIMIT_TOO_LARGE', { details: { what, most: MOST_INDICES, got } })
}
