/**
 * From a spec to a sequence that the engine can surely finish: the one door, where everything is checked that a later
 * step relies on. Knows limits and end-of-sequence ids; does not know what else runs.
 */

import { numBlocksFor } from './block-table.ts'
import { engineError } from './errors.ts'
import type { BatchLimits, LoadedAdapters } from './executor.ts'
import { Sequence } from './sequence.ts'
import type { SequenceSpec } from './updates.ts'

export interface SequenceLimits {
  readonly limits: BatchLimits
  /** Longest sequence, prompt and answer together. */
  readonly maxContextTokens: number
  /** The model's own end-of-sequence ids. */
  readonly eosTokenIds: readonly number[]
  readonly adapters: LoadedAdapters | null
}

/**
 * Check `spec` and make its sequence. Answers that reach the context end with `length`, so `maxTokens` may be larger.
 *
 * @throws ENGINE_EMPTY_PROMPT, ENGINE_CONTEXT_TOO_LONG, ENGINE_SEQUENCE_NEVER_FITS, ENGINE_TOKEN_OUT_OF_RANGE,
 *   ENGINE_ADAPTER_NOT_LOADED
 */
export function makeSequence(
  spec: SequenceSpec,
  { limits, maxContextTokens, eosTokenIds, adapters }: SequenceLimits,
  arrivalMs: number,
  arrivalIndex: number,
): Sequence {
  const { params, promptIds } = spec
  const promptTokens = promptIds.length
  if (promptTokens === 0) throw engineError('ENGINE_EMPTY_PROMPT', { param: 'promptIds' })
  if (promptTokens >= maxContextTokens) {
    const details = { promptTokens, maxContextTokens, maxPromptTokens: maxContextTokens - 1 }
    throw engineError('ENGINE_CONTEXT_TOO_LONG', { param: 'promptIds', details })
  }
  const capacity = Math.min(promptTokens + params.maxTokens, maxContextTokens)
  // The last token drawn is never computed, so it needs no KV.
  if (numBlocksFor(capacity - 1, limits.blockSize) > limits.numBlocks) {
    const { numBlocks, blockSize } = limits
    const details = { numBlocks, blockSize, promptTokens, maxTokens: params.maxTokens }
    throw engineError('ENGINE_SEQUENCE_NEVER_FITS', { param: 'maxTokens', details })
  }
  if (spec.adapter !== undefined && adapters?.has(spec.adapter) !== true) {
    throw engineError('ENGINE_ADAPTER_NOT_LOADED', { details: { slot: spec.adapter } })
  }
  checkTokenIds(promptIds, 'promptIds', limits.vocabSize)
  checkTokenIds(params.stopTokenIds, 'stopTokenIds', limits.vocabSize)
  for (const [tokenId] of params.logitBias) checkTokenId(tokenId, 'logitBias', limits.vocabSize)

  const ownAndEos = [...new Set([...params.stopTokenIds, ...eosTokenIds])]
  return new Sequence(spec, {
    capacity,
    blockSize: limits.blockSize,
    stopTokenIds: Int32Array.from(params.ignoreEos ? params.stopTokenIds : ownAndEos),
    // Masked are all of them, also where the end of sequence is ignored: `minTokens` asks for that much text.
    samplerParams: params.minTokens > 0 ? { ...params, stopTokenIds: ownAndEos } : params,
    arrivalMs,
    arrivalIndex,
  })
}

function checkTokenIds(tokenIds: ArrayLike<number>, where: string, vocabSize: number): void {
  for (let index = 0; index < tokenIds.length; index++)
    checkTokenId(tokenIds[index]!, where, vocabSize)
}

function checkTokenId(tokenId: number, where: string, vocabSize: number): void {
  if (Number.isInteger(tokenId) && tokenId >= 0 && tokenId < vocabSize) return
  const details = { tokenId, where, maxTokenId: vocabSize - 1 }
  throw engineError('ENGINE_TOKEN_OUT_OF_RANGE', { param: where, details })
}
