/**
 * Decides which tokens of which sequences the next step computes. There are no phases: each sequence has computed
 * tokens that catch up with its known tokens under one token budget, so chunked prefill, decode and recomputation
 * after preemption are the same act.
 *
 * Owns the running list, the waiting queue and the block pool. Does not know executors, samplers, tokens' values or
 * updates. Invariants:
 * S1 The running list is in order of arrival, and each running sequence is older than each waiting one. So the oldest
 *    always gets what it needs, and nothing starves.
 * S2 A step never exceeds its budgets of tokens, sequences and logits rows.
 * S3 Only running sequences hold blocks, enough for all computed and scheduled tokens and none beyond. A block's
 *    reference count is the number of tables that have it.
 * S4 A running sequence with one token left to compute is in every step (the limits allow a row for each).
 * Source of the idea: vLLM `v1/core/sched/scheduler.py`.
 */

import { invariant } from '../base/errors.ts'
import type { BlockId } from '../base/ids.ts'
import { BlockPool } from './block-pool.ts'
import { attachBlocks, growBlockTable, numBlocksFor, releaseBlockTable } from './block-table.ts'
import { engineError } from './errors.ts'
import type { BatchLimits } from './executor.ts'
import { fitLogitsRows, numLogitsRows, numReusableTokens } from './logits-rows.ts'
import type { PrefixCache } from './prefix-cache.ts'
import { type Sequence, SequenceStatus } from './sequence.ts'
import { WaitingQueue } from './waiting-queue.ts'

export class Scheduler {
  /** In order of arrival; each one's share of the step is its `numScheduledTokens`. */
  readonly running: Sequence[] = []
  /** Of the last `schedule`: those that came in, and those that were put out. */
  readonly admitted: Sequence[] = []
  readonly preempted: Sequence[] = []
  readonly pool: BlockPool
  readonly #prefixCache: PrefixCache | null
  readonly #waiting = new WaitingQueue()
  readonly #limits: BatchLimits
  #tokenBudget = 0
  #rowBudget = 0

  /**
   * @param prefixCache - null = every token is computed
   * @throws ENGINE_BAD_LIMITS when S4 could not hold
   */
  constructor(limits: BatchLimits, prefixCache: PrefixCache | null = null) {
    checkLimits(limits)
    this.#limits = limits
    this.#prefixCache = prefixCache
    this.pool = new BlockPool(limits.numBlocks, prefixCache?.forget)
  }

  get numWaiting(): number {
    return this.#waiting.size
  }

  /** Queue a new sequence, younger than all before it. The caller has checked that the pool can ever hold it. */
  add(sequence: Sequence): void {
    this.#waiting.pushBack(sequence)
  }

  /**
   * Share out one step. Reads and writes running, waiting, the pool and the sequences' `numScheduledTokens`.
   *
   * Cost: O(running + admitted); allocates only when it admits or preempts.
   */
  schedule(nowMs: number): void {
    this.#tokenBudget = this.#limits.maxNumBatchedTokens
    this.#rowBudget = this.#limits.maxLogitsRows
    if (this.admitted.length > 0) this.admitted.length = 0
    if (this.preempted.length > 0) this.preempted.length = 0
    for (let index = 0; index < this.running.length; index++)
      this.running[index]!.numScheduledTokens = 0
    this.#grow(true)
    this.#grow(false)
    // After a preemption the pool is full by definition; whoever came in now would be next to go.
    if (this.preempted.length === 0) this.#admit(nowMs)
  }

  /**
   * Take finished sequences out: their blocks become free, and the running list closes up in order.
   *
   * Cost: O(running); allocates nothing.
   */
  removeFinished(): void {
    let numKept = 0
    for (let index = 0; index < this.running.length; index++) {
      const sequence = this.running[index]!
      if (sequence.isFinished) {
        releaseBlockTable(sequence, this.pool)
        sequence.numScheduledTokens = 0
      } else {
        this.running[numKept] = sequence
        numKept += 1
      }
    }
    if (numKept < this.running.length) this.running.length = numKept
  }

  /** The step that computed the sequence's last tokens was good: later sequences may find the blocks they filled. */
  publish(sequence: Sequence): void {
    this.#prefixCache?.publish(sequence, this.pool)
  }

  /** Take a sequence that has not been admitted, or was preempted, out of the queue. Cost: O(1). */
  removeWaiting(sequence: Sequence): void {
    this.#waiting.remove(sequence)
  }

  /** Running sequences, oldest first: those with one token left (`isLast`), or all that are still without a share. */
  #grow(isLast: boolean): void {
    for (let index = 0; index < this.running.length; index++) {
      const sequence = this.running[index]!
      const numLeft = sequence.numTokens - sequence.numComputedTokens
      if ((numLeft === 1) !== isLast) continue
      const numTokens = fitLogitsRows(
        sequence,
        Math.min(numLeft, this.#tokenBudget),
        this.#rowBudget,
      )
      if (numTokens === 0) continue
      const numBlocks = numBlocksFor(sequence.numComputedTokens + numTokens, this.#limits.blockSize)
      while (
        numBlocks - sequence.numBlocks > this.pool.numFree &&
        sequence.status === SequenceStatus.running
      ) {
        this.#preempt()
      }
      if (sequence.status === SequenceStatus.running) this.#share(sequence, numTokens, numBlocks)
    }
  }

  /** Put the youngest running sequence out: all of its KV is given up, its tokens stay known (Q3). */
  #preempt(): void {
    const victim = this.running.pop()
    invariant(victim !== undefined, 'S1', 'no running sequence is left to preempt')
    // A share it already had is not given out again: the step may end up that many tokens short, never over.
    victim.numScheduledTokens = 0
    releaseBlockTable(victim, this.pool)
    victim.numComputedTokens = 0
    victim.numPreemptions += 1
    victim.status = SequenceStatus.preempted
    this.#waiting.pushFront(victim)
    this.preempted.push(victim)
  }

  /**
   * Let waiting sequences in, oldest first, as long as budgets last and the pool can hold all of their known tokens
   * beside what running ones still have to compute. A sequence is never let in for a part of its prompt only to be
   * put out by the next chunk.
   */
  #admit(nowMs: number): void {
    if (this.#waiting.size === 0) return
    let numFree = this.pool.numFree - this.#numPromisedBlocks()
    while (this.running.length < this.#limits.maxNumSeqs) {
      const sequence = this.#waiting.head
      if (sequence === null || this.#tokenBudget === 0 || this.#rowBudget === 0) return
      const numHits = this.#prefixCache?.match(sequence, numReusableTokens(sequence)) ?? 0
      const numNeeded = this.#numNeededBlocks(sequence, numHits)
      if (numNeeded > numFree) return
      const numCachedTokens = numHits * this.#limits.blockSize
      sequence.numComputedTokens = numCachedTokens
      const numTokens = fitLogitsRows(
        sequence,
        Math.min(sequence.numTokens - numCachedTokens, this.#tokenBudget),
        this.#rowBudget,
      )
      if (numTokens === 0) {
        sequence.numComputedTokens = 0
        return
      }
      numFree -= numNeeded
      this.#waiting.remove(sequence)
      sequence.reserve()
      this.#attachPrefix(sequence, numHits)
      sequence.status = SequenceStatus.running
      if (sequence.admittedMs < 0) sequence.admittedMs = nowMs
      this.running.push(sequence)
      this.admitted.push(sequence)
      const numKvTokens = numCachedTokens + numTokens
      this.#share(sequence, numTokens, numBlocksFor(numKvTokens, this.#limits.blockSize))
    }
  }

  /** Free blocks that admitting costs: fresh ones, and cached ones among the hits that nobody else holds. */
  #numNeededBlocks(sequence: Sequence, numHits: number): number {
    let numNeeded = numBlocksFor(sequence.numTokens, this.#limits.blockSize) - numHits
    for (let index = 0; index < numHits; index++) {
      const block = this.#prefixCache!.matched[index]! as BlockId
      if (this.pool.refCount(block) === 0) numNeeded += 1
    }
    return numNeeded
  }

  #attachPrefix(sequence: Sequence, numHits: number): void {
    if (sequence.numCachedTokens < 0) sequence.numCachedTokens = numHits * this.#limits.blockSize
    const cache = this.#prefixCache
    if (cache === null) return
    attachBlocks(sequence, cache.matched, numHits, this.pool)
    cache.follow(sequence, numHits)
  }

  #share(sequence: Sequence, numTokens: number, numBlocks: number): void {
    growBlockTable(sequence, numBlocks, this.pool)
    sequence.numScheduledTokens = numTokens
    this.#tokenBudget -= numTokens
    this.#rowBudget -= numLogitsRows(sequence, numTokens)
  }

  /** Blocks that running sequences still lack for tokens they already know. */
  #numPromisedBlocks(): number {
    let numPromised = 0
    for (let index = 0; index < this.running.length; index++) {
      const sequence = this.running[index]!
      const numNeeded = numBlocksFor(sequence.numTokens, this.#limits.blockSize)
      numPromised += Math.max(0, numNeeded - sequence.numBlocks)
    }
    return numPromised
  }

  /** Check pool, queue and S1–S4 against each other. Cost: O(blocks + sequences); for tests and idle moments. */
  checkIntegrity(): void {
    this.pool.checkIntegrity()
    this.#prefixCache?.checkIntegrity(this.pool)
    this.#waiting.checkIntegrity()
    const limits = this.#limits
    const numHolders = new Int32Array(limits.numBlocks)
    let numTokens = 0
    let numRows = 0
    let previous = -1
    for (const sequence of this.running) {
      invariant(
        sequence.status === SequenceStatus.running,
        'S1',
        'a sequence runs that does not say so',
      )
      invariant(
        sequence.arrivalIndex > previous,
        'S1',
        'the running list is not in order of arrival',
      )
      previous = sequence.arrivalIndex
      numTokens += sequence.numScheduledTokens
      numRows += numLogitsRows(sequence, sequence.numScheduledTokens)
      const numKvTokens = sequence.numComputedTokens + sequence.numScheduledTokens
      const isExact = sequence.numBlocks === numBlocksFor(numKvTokens, limits.blockSize)
      invariant(isExact, 'S3', 'a running sequence holds too few or too many blocks')
      invariant(
        sequence.numComputedTokens < sequence.numTokens,
        'Q1',
        'a running sequence has nothing to compute',
      )
      for (let index = 0; index < sequence.numBlocks; index++)
        numHolders[sequence.blockTable[index]!]! += 1
    }
    const oldest = this.#waiting.head
    invariant(
      oldest === null || oldest.arrivalIndex > previous,
      'S1',
      'a waiting sequence is older than a running one',
    )
    for (let sequence = oldest; sequence !== null; sequence = sequence.queueNext) {
      invariant(sequence.numBlocks === 0, 'S3', 'a waiting sequence holds blocks')
    }
    for (let block = 0; block < limits.numBlocks; block++) {
      const isCounted = numHolders[block] === this.pool.refCount(block as BlockId)
      invariant(isCounted, 'S3', 'a block has more or fewer holders than are counted')
    }
    const isWithin =
      numTokens <= limits.maxNumBatchedTokens && this.running.length <= limits.maxNumSeqs
    invariant(isWithin && numRows <= limits.maxLogitsRows, 'S2', 'the step exceeds its budgets')
  }
}

function checkLimits(limits: BatchLimits): void {
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
