/** The scheduler's invariants, checked between steps, and the limits without which they could not hold. */

import { invariant } from '../base/errors.ts'
import type { BlockId } from '../base/ids.ts'
import { numBlocksFor } from './block-table.ts'
import { engineError } from './errors.ts'
import type { BatchLimits } from './executor.ts'
import { numLogitsRows } from './logits-rows.ts'
import type { Scheduler } from './scheduler.ts'
import { type Sequence, SequenceStatus } from './sequence.ts'

/** Check pool, queue and S1–S4 against each other. Cost: O(blocks + sequences); for tests and idle moments. */
export function checkScheduler(scheduler: Scheduler, limits: BatchLimits): void {
  const numHolders = new Int32Array(limits.numBlocks)
  scheduler.checkParts(numHolders, (sequence) => {
    invariant(sequence.numBlocks === 0, 'S3', 'a waiting sequence holds blocks')
  })
  let numTokens = 0
  let numRows = 0
  let previousRank = 0
  for (const sequence of scheduler.running) {
    checkRunning(sequence, limits)
    const isOrdered = sequence.rank >= previousRank
    invariant(isOrdered, 'S1', 'the running list is not in order of rank')
    previousRank = sequence.rank
    numTokens += sequence.numScheduledTokens
    numRows += numLogitsRows(sequence, sequence.numScheduledTokens)
    for (let index = 0; index < sequence.numBlocks; index++)
      numHolders[sequence.blockTable[index]!]! += 1
  }
  for (let block = 0; block < limits.numBlocks; block++) {
    const isCounted = numHolders[block] === scheduler.pool.refCount(block as BlockId)
    invariant(isCounted, 'S3', 'a block has more or fewer holders than are counted')
  }
  const isWithin =
    numTokens <= limits.maxNumBatchedTokens && scheduler.running.length <= limits.maxNumSeqs
  invariant(isWithin && numRows <= limits.maxLogitsRows, 'S2', 'the step exceeds its budgets')
}

function checkRunning(sequence: Sequence, limits: BatchLimits): void {
  const isRunning = sequence.status === SequenceStatus.running
  invariant(isRunning, 'S1', 'a sequence runs that does not say so')
  const hasOutside = sequence.parked !== null || sequence.tailBlock >= 0
  invariant(!hasOutside, 'K1', 'a running sequence has KV outside of its table')
  const numKvTokens = sequence.numComputedTokens + sequence.numScheduledTokens
  const isExact = sequence.numBlocks === numBlocksFor(numKvTokens, limits.blockSize)
  invariant(isExact, 'S3', 'a running sequence holds too few or too many blocks')
  const hasWork = sequence.numComputedTokens < sequence.numTokens
  invariant(hasWork, 'Q1', 'a running sequence has nothing to compute')
}

/** @throws ENGINE_BAD_LIMITS when S4 could not hold */
export function checkLimits(limits: BatchLimits): void {
  const { maxNumBatchedTokens, maxNumSeqs, maxLogitsRows, numBlocks, blockSize } = limits
  const refuse = (expected: string, got: number, change: string) =>
    engineError('ENGINE_BAD_LIMITS', { details: { expected, got, change } })
  if (maxNumSeqs < 1)
    throw refuse('at least 1 sequence a step', maxNumSeqs, 'the maximum of sequences')
  if (maxNumBatchedTokens < maxNumSeqs) {
    const expected = `at least one token a step for each of ${maxNumSeqs} sequences`
    throw refuse(expected, maxNumBatchedTokens, 'the maximum of tokens a step, or of sequences')
  }
  if (maxLogitsRows < maxNumSeqs) {
    const expected = `at least one logits row for each of ${maxNumSeqs} sequences`
    throw refuse(expected, maxLogitsRows, 'the maximum of logits rows, or of sequences')
  }
  if (numBlocks < 1 || blockSize < 1) {
    throw refuse(
      'at least 1 KV block of at least 1 token',
      Math.min(numBlocks, blockSize),
      'the KV memory',
    )
  }
}

/** @throws ENGINE_BAD_LIMITS when the context does not fit in a block table */
export function checkContext(limits: BatchLimits, maxContextTokens: number): void {
  // The last token of a sequence is never computed, so it needs no KV.
  const maxTokens = limits.maxBlocksPerSeq * limits.blockSize + 1
  if (maxContextTokens >= 2 && maxContextTokens <= maxTokens) return
  const expected = `a context of 2 to ${maxTokens} tokens, what a block table can hold`
  const details = { expected, got: maxContextTokens, change: 'the maximum of context tokens' }
  throw engineError('ENGINE_BAD_LIMITS', { details })
}
