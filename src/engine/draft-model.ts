/**
 * Guesses with a second, smaller model of the same vocabulary, before the step that judges them:
 *
 *   round 0   each chosen stream: tokens that the draft model has not seen yet ──▶ first guess
 *   round r   the guess of the round before                                    ──▶ the next one
 *   step      `drafts.ts` gives the guesses rows behind the stream's last token
 *
 * The draft draws with the sequence's own sampler parameters and the same counters, so a model that is as sure as the
 * target of what comes guesses also what is drawn by chance. Tokens are the target's alone; a wrong guess costs time.
 * There is a further round while it is expected to bring more tokens a millisecond than the step has without it: from
 * both models' costs and from how often the sequence's guesses were right. None while prompts are computed: their steps
 * are as long as the target between tokens allows already.
 * Owns the draft executor's samplers, its KV blocks and its costs, not the executor. A failure ends guessing, and
 * nothing else.
 * G1 Whoever holds blocks here runs, and has a sampler here; `release` takes both.
 */

import type { Clock } from '../base/clock.ts'
import { InvariantError } from '../base/errors.ts'
import { DraftBatch } from './draft-batch.ts'
import { DraftBlocks } from './draft-blocks.ts'
import { type DraftKv, FIRST_PAUSE, LONGEST_PAUSE } from './draft-state.ts'
import { lookUp } from './drafts.ts'
import type { Executor } from './executor.ts'
import type { Sequence } from './sequence.ts'
import { StepCostModel } from './step-cost-model.ts'

export interface DraftModelOptions {
  readonly executor: Executor
  /** Longest sequence it can continue. */
  readonly maxContextTokens: number
  readonly clock: Clock
  /** Of the target's steps. */
  readonly targetCosts: StepCostModel
  /** Guesses for one sequence in one step. */
  readonly most: number
  readonly looksUp: boolean
  /** Hears why there will be no more guesses. */
  readonly onFailure: (reason: string) => void
}

/** Of the target's step beside other streams: how long a step may be for tokens the draft model has not seen yet. */
const CATCH_UP_SHARE = 0.5
/** Rows that cost little more than one. */
const LEAST_CATCH_UP = 8
/** Chances after which it is tried though not even right guesses would pay by what was measured. */
const HOPELESS_PAUSE = 1024

export class DraftModel {
  readonly costs: StepCostModel = new StepCostModel()
  readonly #options: DraftModelOptions
  readonly #blocks: DraftBlocks
  readonly #batch: DraftBatch
  /** Streams of the step that may guess; the first `#numChosen`. */
  readonly #chosen: (Sequence | null)[] // [maxNumSeqs]
  #numChosen = 0
  /** Tokens expected of the target's step, and its milliseconds, guesses and all. In an array: numbers would be boxed. */
  readonly #sums = new Float64Array(2)
  #numPassed = 0
  #pause = FIRST_PAUSE
  #hasFailed = false
  /** Guesses made so far. */
  numGuesses = 0

  constructor(options: DraftModelOptions) {
    const { limits, arrays } = options.executor
    this.#options = options
    this.#blocks = new DraftBlocks(limits)
    this.#batch = new DraftBatch(limits, arrays)
    this.#chosen = new Array<Sequence | null>(limits.maxNumSeqs).fill(null)
  }

  get numFreeBlocks(): number {
    return this.#blocks.numFree
  }

  /**
   * Guess for the streams among `running`; null when there is nothing to compute.
   *
   * @param isBusy - somebody is about to be let in: there will be prompts beside the streams
   */
  propose(running: readonly Sequence[], isBusy: boolean): Promise<void> | null {
    for (let index = 0; index < running.length; index++) {
      const { draft } = running[index]!
      if (draft !== null) draft.numModelGuesses = 0
    }
    this.#numChosen = 0
    if (this.#hasFailed || isBusy || !this.#choose(running)) return null
    this.#plan(running.length)
    try {
      this.#fillFirst(running.length === 1)
    } catch (cause) {
      this.#fail(cause)
      return null
    }
    return this.#batch.numTokens === 0 ? null : this.#guess()
  }

  /** The sequence has ended or was put out. */
  release({ draft, samplerSlot }: Sequence): void {
    if (draft === null) return
    draft.numModelGuesses = 0
    if (draft.kv === null || draft.kv.numBlocks === 0) return
    this.#blocks.release(draft.kv)
    this.#options.executor.removeSequence(samplerSlot)
  }

  checkIntegrity(running: readonly Sequence[]): void {
    this.#blocks.checkIntegrity(running)
  }

  /** Streams that may be guessed for. @returns false when there are none, or a prompt is being computed */
  #choose(running: readonly Sequence[]): boolean {
    let numKeys = 0
    for (let index = 0; index < running.length; index++) {
      const sequence = running[index]!
      if (sequence.numTokens - sequence.numComputedTokens !== 1) return false
      numKeys += sequence.numTokens
      if (!this.#mayGuess(sequence)) continue
      this.#chosen[this.#numChosen] = sequence
      this.#numChosen += 1
    }
    this.#sums[0] = running.length
    this.#sums[1] = this.#options.targetCosts.predictMs(running.length, numKeys, running.length)
    return this.#numChosen > 0
  }

  #mayGuess(sequence: Sequence): boolean {
    const { draft, numTokens, capacity, numOutputTokens, params } = sequence
    if (draft === null || numOutputTokens < params.minTokens) return false
    if (sequence.isCancelRequested || numTokens + 1 >= capacity) return false
    if (numTokens >= this.#options.maxContextTokens) return false
    return !this.#options.looksUp || lookUp(sequence) < 0
  }

  /** How many rounds each one is worth, as if all had been computed so far. */
  #plan(numStreams: number): void {
    const { most } = this.#options
    for (let index = 0; index < this.#numChosen; index++)
      this.#blocks.of(this.#chosen[index]!).numWanted = 0
    let round = 0
    while (round < most && this.#planRound(round)) round += 1
    if (round > 0) {
      this.#numPassed = 0
      this.#pause = FIRST_PAUSE
      return
    }
    // Nothing is learned without a guess.
    this.#numPassed += 1
    const pause = this.#canPay(numStreams) ? this.#pause : HOPELESS_PAUSE
    if (this.#numPassed <= pause && this.costs.numObserved > 0) return
    this.#numPassed = 0
    this.#pause = Math.min(LONGEST_PAUSE, 2 * this.#pause)
    for (let index = 0; index < this.#numChosen; index++)
      this.#chosen[index]!.draft!.kv!.numWanted = 1
  }

  /** Add a round for those that are worth one. @returns whether anybody is */
  #planRound(round: number): boolean {
    const sums = this.#sums
    let numGuessing = 0
    let numKeys = 0
    let expected = 0
    let rowsMs = 0
    for (let index = 0; index < this.#numChosen; index++) {
      const sequence = this.#chosen[index]!
      if (!this.#isWorthRow(sequence, round)) continue
      numGuessing += 1
      numKeys += sequence.numTokens + round
      expected += sequence.draft!.model.chance ** (round + 1)
      rowsMs += this.#rowMs(sequence)
    }
    if (numGuessing === 0) return false
    const costMs = rowsMs + this.costs.predictMs(numGuessing, numKeys, numGuessing)
    if (expected * sums[1]! <= costMs * sums[0]!) return false
    for (let index = 0; index < this.#numChosen; index++) {
      const sequence = this.#chosen[index]!
      if (this.#isWorthRow(sequence, round)) sequence.draft!.kv!.numWanted = round + 1
    }
    sums[0]! += expected
    sums[1]! += costMs
    return true
  }

  /** It takes part in this round: it did in those before, has room for the guess, and the row pays. */
  #isWorthRow(sequence: Sequence, round: number): boolean {
    const { numTokens, capacity, draft } = sequence
    if (draft!.kv!.numWanted < round || numTokens + round + 1 >= capacity) return false
    if (numTokens + round >= this.#options.maxContextTokens) return false
    const expected = draft!.model.chance ** (round + 1)
    return expected * this.#sums[1]! > this.#rowMs(sequence) * this.#sums[0]!
  }

  #rowMs({ numTokens }: Sequence): number {
    const { tokenMs, logitsRowMs, keyMs } = this.#options.targetCosts
    return tokenMs + logitsRowMs + keyMs * numTokens
  }

  /** Whether one guess each would pay if all were right. */
  #canPay(numStreams: number): boolean {
    const sums = this.#sums
    let costMs = 0
    let numKeys = 0
    for (let index = 0; index < this.#numChosen; index++) {
      costMs += this.#rowMs(this.#chosen[index]!)
      numKeys += this.#chosen[index]!.numTokens
    }
    costMs += this.costs.predictMs(this.#numChosen, numKeys, this.#numChosen)
    return this.#numChosen * sums[1]! > costMs * numStreams
  }

  /** Rows of round 0. Long unseen texts are caught up with over several steps, unless nobody else waits for the step. */
  #fillFirst(isAlone: boolean): void {
    const batch = this.#batch
    batch.clear()
    let leftMs = isAlone ? Number.POSITIVE_INFINITY : CATCH_UP_SHARE * this.#sums[1]!
    for (let index = 0; index < this.#numChosen; index++) {
      const sequence = this.#chosen[index]!
      const kv = sequence.draft!.kv!
      if (kv.numWanted === 0) continue
      // The last known token never counts as seen: it is what the first guess follows. Wrong guesses never count either.
      kv.numComputed = Math.min(kv.numComputed, sequence.numTokens - 1)
      const numUnseen = sequence.numTokens - kv.numComputed
      const numRows = Math.min(
        numUnseen,
        batch.numFreeRows,
        this.#numCatchUp(kv, numUnseen, leftMs),
      )
      const isCaughtUp = numRows === numUnseen
      if (numRows === 0 || !this.#join(sequence, kv, numRows)) kv.numWanted = 0
      else batch.add(sequence, kv, numRows, isCaughtUp)
      if (!isCaughtUp) kv.numWanted = 0
      if (numUnseen > LEAST_CATCH_UP) leftMs -= numRows * this.costs.tokenMs
    }
  }

  #numCatchUp(kv: DraftKv, numUnseen: number, ms: number): number {
    if (numUnseen <= LEAST_CATCH_UP || ms === Number.POSITIVE_INFINITY) return numUnseen
    return Math.max(LEAST_CATCH_UP, this.costs.affordableTokens(ms, kv.numComputed, numUnseen))
  }

  /** Give it blocks, and a sampler when it has none. */
  #join(sequence: Sequence, kv: DraftKv, numRows: number): boolean {
    const isNew = kv.numBlocks === 0
    if (!this.#blocks.grow(kv, kv.numComputed + numRows)) return false
    if (!isNew) return true
    const { samplerSlot, samplerParams, choice, promptIds } = sequence
    const { executor } = this.#options
    try {
      executor.addSequence(samplerSlot, samplerParams, choice, promptIds, sequence.outputIds())
    } catch (cause) {
      this.#blocks.release(kv)
      throw cause
    }
    return true
  }

  async #guess(): Promise<void> {
    try {
      for (let round = 0; this.#batch.numTokens > 0; round++) {
        await this.#execute()
        this.#take(round)
        this.#fillNext(round + 1)
      }
    } catch (cause) {
      this.#fail(cause)
    }
  }

  #fail(cause: unknown): void {
    if (cause instanceof InvariantError) throw cause
    this.#hasFailed = true
    this.#options.onFailure(cause instanceof Error ? cause.message : String(cause))
  }

  async #execute(): Promise<void> {
    const { executor, clock } = this.#options
    const { numTokens, numSeqs, numLogitsRows, numKeys } = this.#batch
    const startMs = clock.nowMs()
    await executor.execute(numTokens, numSeqs, numLogitsRows)
    this.costs.observe(numTokens, numKeys, numLogitsRows, clock.nowMs() - startMs)
  }

  /** What the round computed: KV of everyone in it, and the guesses of those that had a logits row. */
  #take(round: number): void {
    const { arrays } = this.#options.executor
    let seq = 0
    let row = 0
    for (let index = 0; index < this.#numChosen && seq < this.#batch.numSeqs; index++) {
      const sequence = this.#chosen[index]!
      if (arrays.sequenceSlots[seq] !== sequence.samplerSlot) continue
      const draft = sequence.draft!
      const kv = draft.kv!
      kv.numComputed = arrays.contextLengths[seq]!
      seq += 1
      if (kv.numWanted <= round) continue
      const tokenId = arrays.sampledIds[row]!
      row += 1
      if (tokenId < 0) {
        kv.numWanted = 0
        continue
      }
      sequence.tokenIds[sequence.numTokens + round] = tokenId
      draft.numModelGuesses = round + 1
      this.numGuesses += 1
    }
  }

  #fillNext(round: number): void {
    this.#batch.clear()
    for (let index = 0; index < this.#numChosen; index++) {
      const sequence = this.#chosen[index]!
      const kv = sequence.draft!.kv!
      if (kv.numWanted <= round) continue
      if (this.#blocks.grow(kv, kv.numComputed + 1)) this.#batch.add(sequence, kv, 1, true)
      else kv.numWanted = 0
    }
  }
}
