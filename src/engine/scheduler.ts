/**
 * Decides which tokens of which sequences the next step computes. There are no phases: each sequence has computed
 * tokens that catch up with its known tokens under one budget, so chunked prefill, decode and recomputation after
 * preemption are the same act. One step, in this order:
 *
 *   decode    every running sequence with one token left gets it            (S4)
 *   guess     streams that repeat themselves get rows for guesses           `drafts.ts`
 *   prompts   running sequences with more left share what the target leaves `step-budget.ts`
 *   admit     the next one in turn comes in, while budget and blocks last   `fair-queue.ts`, `kv-reuse.ts`
 *   expire    who was not let in and has waited as long as it was willing to is given up   `deadlines.ts`
 *
 * and whenever blocks run out, somebody is put out (`victims.ts`), with a copy of its KV or without (`swaps.ts`). Who
 * has blocks in the tier waits for them outside of the queue (`restores.ts`).
 * Owns the running list, the queue and the block pool. Does not know executors, samplers, tokens' values or updates.
 * Invariants:
 * S1 The running list is in order of rank. Its oldest sequence of the first rank always gets what it needs, and each
 *    tier an eighth of the admissions, so nothing starves.
 * S2 A step never exceeds its budgets of tokens, sequences and logits rows.
 * S3 Only running sequences hold blocks, enough for all computed and scheduled tokens and none beyond. A block's
 *    reference count is the number of tables that have it, and of followers whose tail it is (`shared-tails.ts`).
 * S4 A running sequence with one token left to compute is in every step (the limits allow a row for each).
 * Source of the idea: vLLM `v1/core/sched/scheduler.py`.
 */

import { invariant } from '../base/errors.ts'
import type { SequenceId } from '../base/ids.ts'
import { BlockPool } from './block-pool.ts'
import { growBlockTable, numBlocksFor, releaseBlockTable, trimBlockTable } from './block-table.ts'
import { Deadlines } from './deadlines.ts'
import { Drafts } from './drafts.ts'
import type { BatchLimits } from './executor.ts'
import { FairQueue } from './fair-queue.ts'
import { Followers, leastSharedTokens } from './followers.ts'
import { KvReuse } from './kv-reuse.ts'
import { numDrawRows } from './logits-rows.ts'
import { PoolRoom } from './pool-room.ts'
import type { PrefixCache } from './prefix-cache.ts'
import { Restores } from './restores.ts'
import { insertByRank, removeAt } from './running-list.ts'
import type { SchedulerOptions } from './scheduler-options.ts'
import { type Sequence, SequenceStatus } from './sequence.ts'
import { StepBudget } from './step-budget.ts'
import { StepCostModel } from './step-cost-model.ts'
import { chooseVictim } from './victims.ts'

/** What the next one in turn lacked. */
export type BlockedBy = 'a place' | 'blocks' | 'budget' | 'a preemption'

export class Scheduler {
  /** In order of rank; each one's share of the step is its `numScheduledTokens`. */
  readonly running: Sequence[] = []
  /** Of the last `schedule`: those that came in, were put out, and were given up while they waited. */
  readonly admitted: Sequence[] = []
  readonly preempted: Sequence[] = []
  readonly expired: Sequence[] = []
  /** Of the last `schedule`: who was next in turn and not let in, and what was missing. */
  blockedId: SequenceId | null = null
  blockedBy: BlockedBy | null = null
  readonly pool: BlockPool
  readonly costModel: StepCostModel = new StepCostModel()
  readonly #prefixCache: PrefixCache | null
  readonly #queue = new FairQueue()
  readonly #deadlines = new Deadlines()
  readonly #followers: Followers
  readonly #limits: BatchLimits
  readonly #budget: StepBudget
  readonly #drafts: Drafts | null
  readonly #room: PoolRoom
  readonly reuse: KvReuse
  readonly restores: Restores | null

  constructor(limits: BatchLimits, options: SchedulerOptions = {}) {
    const { prefixCache = null, targetItl = 'off', maxDraftTokens = 0 } = options
    const { moves = null, swapBytes = 0, cold = null, promptLookup = true } = options
    const { blockSize } = limits
    this.#limits = limits
    this.#prefixCache = prefixCache
    this.#followers = new Followers(leastSharedTokens(blockSize, moves))
    this.#budget = new StepBudget(limits, this.costModel, targetItl)
    this.#drafts =
      maxDraftTokens > 0 ? new Drafts(this.costModel, maxDraftTokens, promptLookup) : null
    this.pool = new BlockPool(limits.numBlocks, prefixCache?.forget)
    this.#room = new PoolRoom(this.pool, blockSize)
    const kept = { prefixCache, moves, swapBytes }
    this.reuse = new KvReuse(kept, this.pool, this.costModel, blockSize)
    this.restores =
      cold === null || moves === null ? null : new Restores(cold, this.costModel, limits, moves)
  }

  get numWaiting(): number {
    return this.#queue.size + this.#followers.size + (this.restores?.size ?? 0)
  }

  /** Known tokens of everyone who waits. */
  get numWaitingTokens(): number {
    return this.#queue.numTokens
  }

  /**
   * Queue a new sequence, younger than all before it. The caller has checked that the pool can ever hold it.
   *
   * @param leader - one with the same prompt whose blocks it can share
   */
  add(sequence: Sequence, leader: Sequence | null = null): void {
    this.#deadlines.add(sequence)
    const sharesBlocks = leader !== null && this.#prefixCache !== null
    if (!sharesBlocks || !this.#followers.hold(sequence, leader)) this.#queue.push(sequence)
  }

  /**
   * Share out one step. Reads and writes running, waiting, the pool and the sequences' `numScheduledTokens`.
   *
   * Cost: O(running + admitted + expired · log waiting), plus the prompt of the next one in turn when a prefix cache
   * is asked for it; allocates only when it admits, preempts or expires.
   */
  schedule(nowMs: number): void {
    this.#begin()
    this.#decode()
    this.#guess()
    this.#budget.openPrompts()
    this.#growPrompts()
    this.#admit(nowMs)
    // Not before: whoever is willing to wait no time at all is let in when nothing stands in its way.
    this.#expire(nowMs)
  }

  /** What the step cost. */
  learn(numTokens: number, numKeys: number, numLogitsRows: number, ms: number): void {
    this.#budget.learn(ms)
    this.costModel.observe(numTokens, numKeys, numLogitsRows, ms)
  }

  /**
   * The step that computed the sequence's last tokens was good and drew `numDrawn`: guesses are judged, blocks that only
   * wrong ones had are cut off, and later sequences may find the blocks that were filled.
   */
  settle(sequence: Sequence, numDrawn: number): void {
    this.#prefixCache?.publish(sequence, this.pool)
    if (numDrawn > 0 && sequence.followers.length > 0) {
      const followers = this.#followers.release(sequence)
      this.reuse.share(sequence, followers)
      for (const follower of followers) this.#queue.push(follower)
    }
    if (sequence.numDraftTokens === 0) return
    this.#drafts?.learn(sequence, numDrawn - 1)
    sequence.numDraftTokens = 0
    const { numComputedTokens } = sequence
    trimBlockTable(sequence, numBlocksFor(numComputedTokens, this.#limits.blockSize), this.pool)
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

  /** Take a sequence that has not been admitted, or was preempted, out of the queue. */
  removeWaiting(sequence: Sequence): void {
    this.#deadlines.remove(sequence)
    this.#takeOut(sequence)
  }

  #takeOut(sequence: Sequence): void {
    if (sequence.leader !== null) this.#followers.remove(sequence)
    else if (sequence.restore === 'under way') this.restores!.remove(sequence)
    else this.#queue.remove(sequence)
  }

  /** The sequence has ended; its tenant has one less, and whoever waited for it goes on without it. */
  forget(sequence: Sequence): void {
    this.reuse.forget(sequence)
    const successor = this.#followers.succeed(sequence)
    if (successor !== null) this.#queue.push(successor)
    this.#queue.forget(sequence)
  }

  #begin(): void {
    this.#budget.begin()
    this.blockedId = null
    this.blockedBy = null
    if (this.admitted.length > 0) this.admitted.length = 0
    if (this.preempted.length > 0) this.preempted.length = 0
    if (this.expired.length > 0) this.expired.length = 0
    for (let index = 0; index < this.running.length; index++)
      this.running[index]!.numScheduledTokens = 0
    if (this.restores === null) return
    for (const sequence of this.restores.collect()) this.#queue.putBack(sequence)
  }

  #expire(nowMs: number): void {
    for (;;) {
      const sequence = this.#deadlines.takeExpired(nowMs)
      if (sequence === null) return
      this.#takeOut(sequence)
      this.expired.push(sequence)
    }
  }

  #decode(): void {
    for (let index = 0; index < this.running.length; ) {
      const sequence = this.running[index]!
      const isStream = sequence.numTokens - sequence.numComputedTokens === 1
      if (!isStream || this.#budget.fit(sequence, 1) === 0) {
        index += 1
        continue
      }
      index = this.#makeRoom(index, 1)
      if (sequence.status !== SequenceStatus.running) continue
      this.#budget.takeDecode(sequence, 1)
      this.#share(sequence, 1)
      index += 1
    }
  }

  #guess(): void {
    const drafts = this.#drafts
    if (drafts === null) return
    const { blockSize } = this.#limits
    drafts.begin(this.#budget.numDecodeTokens, this.#budget.numDecodeKeys)
    for (let index = 0; index < this.running.length; index++) {
      const sequence = this.running[index]!
      if (sequence.numScheduledTokens === 0 || sequence.draft === null) continue
      // Its last token is never computed, and nobody is put out for a guess.
      const numUntilFull = sequence.capacity - sequence.numTokens - 1
      const numSlots = (sequence.numBlocks + this.pool.numFree) * blockSize - sequence.numTokens
      const room = Math.min(numUntilFull, numSlots, this.#budget.numGuessable)
      if (room <= 0) continue
      const numGuesses = drafts.propose(sequence, room)
      if (numGuesses === 0) continue
      this.#budget.takeGuesses(sequence, numGuesses)
      sequence.numDraftTokens = numGuesses
      sequence.numScheduledTokens = 1 + numGuesses
      growBlockTable(sequence, numBlocksFor(sequence.numTokens + numGuesses, blockSize), this.pool)
    }
  }

  #growPrompts(): void {
    for (let index = 0; index < this.running.length; ) {
      const sequence = this.running[index]!
      const numLeft = sequence.numTokens - sequence.numComputedTokens
      const numTokens = numLeft === 1 ? 0 : this.#budget.fitPrompt(sequence, numLeft)
      if (numTokens === 0) {
        index += 1
        continue
      }
      index = this.#makeRoom(index, numTokens)
      if (sequence.status !== SequenceStatus.running) continue
      this.#budget.takePrompt(sequence, numTokens)
      this.#share(sequence, numTokens)
      index += 1
    }
  }

  /** Put sequences out until the one at `index` can grow by `numTokens`, or is out itself. Returns its place then. */
  #makeRoom(index: number, numTokens: number): number {
    const sequence = this.running[index]!
    const numBlocks = numBlocksFor(sequence.numComputedTokens + numTokens, this.#limits.blockSize)
    let place = index
    while (numBlocks - sequence.numBlocks > this.pool.numFree) {
      if (this.reuse.relent()) continue
      const victim = chooseVictim(this.running, 0)
      invariant(victim >= 0, 'S1', 'no running sequence is left to preempt')
      this.#preempt(victim)
      if (victim === place) return place
      if (victim < place) place -= 1
    }
    return place
  }

  /** Put a running sequence out: its blocks are given up, its tokens stay known (Q3). */
  #preempt(index: number): void {
    const victim = this.running[index]!
    removeAt(this.running, index)
    // A share it already had is not given out again: the step may end up that many tokens short, never over.
    victim.numScheduledTokens = 0
    victim.numDraftTokens = 0
    this.reuse.putOut(victim)
    releaseBlockTable(victim, this.pool)
    victim.numComputedTokens = 0
    victim.numPreemptions += 1
    victim.status = SequenceStatus.preempted
    this.#queue.pushResumed(victim)
    this.preempted.push(victim)
  }

  /**
   * Let waiting sequences in, in turn, as long as budgets last and the pool can hold all of their known tokens beside
   * what running ones still have to compute. A sequence is never let in for a part of its prompt only to be put out by
   * the next chunk. One that finds no room puts out lower tiers; after a preemption for lack of blocks nobody comes in.
   */
  #admit(nowMs: number): void {
    if (this.#queue.size === 0) return
    this.#room.count(this.running)
    let blockedBy: BlockedBy | null = this.preempted.length > 0 ? 'a preemption' : null
    while (blockedBy === null) {
      const sequence = this.#queue.next()
      if (sequence === null) return
      blockedBy = this.#letIn(sequence, nowMs)
    }
    this.blockedId = this.#queue.next()?.id ?? null
    this.blockedBy = blockedBy
  }

  /** Why it cannot come in; null when it did, or when somebody was put out for it. */
  #letIn(sequence: Sequence, nowMs: number): BlockedBy | null {
    // Whoever was put out just now would come in again only to be put out next.
    if (this.preempted.includes(sequence)) return 'a preemption'
    if (this.#budget.isSpent) return 'budget'
    this.reuse.find(sequence)
    if (this.#restore(sequence)) return null
    if (this.#hasRoom(sequence)) return this.#enter(sequence, nowMs) ? null : 'budget'
    if (!this.#isFull && this.reuse.relent()) return null
    const victim = chooseVictim(this.running, sequence.rank + 1)
    if (victim < 0) return this.#isFull ? 'a place' : 'blocks'
    this.#preempt(victim)
    this.#room.count(this.running)
    return null
  }

  /** Whether it leaves the queue to wait for blocks of the tier. */
  #restore(sequence: Sequence): boolean {
    const { restores, reuse } = this
    if (restores === null || sequence.parked !== null) return false
    if (!restores.begin(sequence, reuse.numHits, reuse.lastHitKey)) return false
    reuse.refreshHits()
    this.#queue.remove(sequence)
    return true
  }

  get #isFull(): boolean {
    return this.running.length === this.#limits.maxNumSeqs
  }

  #hasRoom(sequence: Sequence): boolean {
    return !this.#isFull && this.#room.fits(sequence, this.reuse.hits, this.reuse.numHits)
  }

  /** False when not even one token of it fits in this step. */
  #enter(sequence: Sequence, nowMs: number): boolean {
    const numReused = this.reuse.numTokens
    sequence.numComputedTokens = numReused
    const numTokens = this.#budget.fitPrompt(sequence, sequence.numTokens - numReused)
    if (numTokens === 0) {
      sequence.numComputedTokens = 0
      return false
    }
    this.#queue.admit(sequence)
    this.#deadlines.remove(sequence)
    // The request was let in; that its other choices wait for this one's blocks is our own thrift.
    for (let index = 0; index < sequence.followers.length; index++)
      this.#deadlines.remove(sequence.followers[index]!)
    sequence.reserve()
    this.#drafts?.admit(sequence)
    this.reuse.attach(sequence)
    sequence.status = SequenceStatus.running
    if (sequence.admittedMs < 0) sequence.admittedMs = nowMs
    insertByRank(this.running, sequence)
    this.admitted.push(sequence)
    this.#budget.takePrompt(sequence, numTokens)
    this.#share(sequence, numTokens)
    this.#room.promise(sequence)
    return true
  }

  /** The budget has been taken from. */
  #share(sequence: Sequence, numTokens: number): void {
    const numKvTokens = sequence.numComputedTokens + numTokens
    growBlockTable(sequence, numBlocksFor(numKvTokens, this.#limits.blockSize), this.pool)
    sequence.numScheduledTokens = numTokens
    this.#queue.charge(sequence, numTokens, numDrawRows(sequence, numTokens) > 0)
  }

  /** Check pool, cache, queue and what is kept outside, for `checkScheduler`; tails are added to the holders. */
  checkParts(numHolders: Int32Array, checkWaiting: (sequence: Sequence) => void): void {
    this.pool.checkIntegrity()
    this.#prefixCache?.checkIntegrity(this.pool)
    this.restores?.checkIntegrity()
    let numParked = 0
    this.#queue.checkIntegrity((sequence) => {
      checkWaiting(sequence)
      if (sequence.parked?.origin === 'swap') numParked += sequence.parked.blocks.length
    })
    this.reuse.checkIntegrity(numParked, numHolders)
  }
}
