/**
 * What is left of one step: tokens, logits rows, and milliseconds for prompts beside running streams.
 *
 *   step  ├─ decode: every stream's next token ─┼─ prompts: until the target ─┤
 *
 * Decode rows are bounded by the fixed limits only (S4 of the scheduler). Once they are taken, `openPrompts` derives
 * from the cost model how much longer the step may get: up to the wanted inter-token latency, or with `auto` not quite
 * as long again as decoding alone, so that streams slow down to half at worst.
 * Without streams nobody waits for the step, and only the fixed limits bound it. Allocates nothing.
 * B1 Prompts get a fifth of the time and one row in every step, whatever the target, so that they end.
 */

import type { BatchLimits } from './executor.ts'
import { fitLogitsRows, numLogitsRows } from './logits-rows.ts'
import type { TargetItl } from './scheduling-options.ts'
import type { Sequence } from './sequence.ts'
import type { StepCostModel } from './step-cost-model.ts'

/**
 * Of `auto`: a step below this is faster than anyone reads, and shorter ones would cost prompts much for little. Beside
 * so many streams the factor holds on any machine; beside fewer a step may be as long as beside those.
 */
const LEAST_TARGET_MS = 10
const USUAL_STREAMS = 16
/** Of `auto`: a step with prompts beside one without. Below 2, for the model is never exact and machines are not idle. */
const TARGET_FACTOR = 1.6
/** Of one step, in the correction of the prediction beside streams; about 20 steps until it has followed. */
const CORRECTION_SHARE = 0.1
const MOST_CORRECTION = 4
/** Of what the streams take: prompts get it whatever the target, so that they end. */
const LEAST_SHARE = 0.25
/** Of the first prompt in a step. Not more: behind 4,000 tokens a row costs several times its usual price. */
const LEAST_PROMPT_TOKENS = 1

export class StepBudget {
  readonly #limits: BatchLimits
  readonly #model: StepCostModel
  readonly #targetItl: TargetItl
  #tokens = 0
  #rows = 0
  /**
   * Milliseconds left for prompts; those predicted for the prompts' and for the decode rows of the step; and how much
   * longer prompts beside streams took than predicted. In an array, because numbers would be boxed.
   */
  readonly #ms = Float64Array.of(Number.POSITIVE_INFINITY, 0, 0, 1)
  #hasPromptTokens = false
  #numDecodeTokens = 0
  #numDecodeKeys = 0
  #numDecodeRows = 0

  constructor(limits: BatchLimits, model: StepCostModel, targetItl: TargetItl) {
    this.#limits = limits
    this.#model = model
    this.#targetItl = targetItl
  }

  get numDecodeTokens(): number {
    return this.#numDecodeTokens
  }

  get numDecodeKeys(): number {
    return this.#numDecodeKeys
  }

  /** Rows that guesses may have. */
  get numGuessable(): number {
    return Math.min(this.#tokens, this.#rows)
  }

  /** No token or no row is left. */
  get isSpent(): boolean {
    return this.#tokens === 0 || this.#rows === 0
  }

  begin(): void {
    this.#tokens = this.#limits.maxNumBatchedTokens
    this.#rows = this.#limits.maxLogitsRows
    this.#ms[0] = Number.POSITIVE_INFINITY
    this.#ms[1] = 0
    this.#hasPromptTokens = false
    this.#numDecodeTokens = 0
    this.#numDecodeKeys = 0
    this.#numDecodeRows = 0
  }

  /** All decode rows have their share; from now on prompts are fitted. */
  openPrompts(): void {
    if (this.#targetItl === 'off' || this.#numDecodeTokens === 0) return
    const model = this.#model
    const decodeMs = model.predictMs(
      this.#numDecodeTokens,
      this.#numDecodeKeys,
      this.#numDecodeRows,
    )
    const targetMs =
      this.#targetItl === 'auto'
        ? Math.max(TARGET_FACTOR * decodeMs, this.#leastTargetMs())
        : this.#targetItl
    this.#ms[0] = Math.max(LEAST_SHARE * decodeMs, targetMs - decodeMs) / this.#ms[3]!
    this.#ms[2] = decodeMs
  }

  #leastTargetMs(): number {
    const usualMs = this.#model.predictMs(USUAL_STREAMS, 0, USUAL_STREAMS)
    return Math.min(LEAST_TARGET_MS, TARGET_FACTOR * usualMs)
  }

  /**
   * The step took `ms`. The model is a straight line, and kernels are not: rows beside streams may cost more than rows
   * of a long chunk. What a bounded step with prompts took beyond its streams corrects the next one.
   */
  learn(ms: number): void {
    if (this.#ms[0]! === Number.POSITIVE_INFINITY || this.#ms[1]! <= 0) return
    const ratio = (ms - this.#ms[2]!) / this.#ms[1]!
    // Never below 1: that prompts were cheaper once is no reason to risk the target.
    const bounded = Math.min(MOST_CORRECTION, Math.max(1, ratio))
    this.#ms[3]! += CORRECTION_SHARE * (bounded - this.#ms[3]!)
  }

  /** Of `numWanted` tokens of the sequence, how many fit; may be 0. */
  fit(sequence: Sequence, numWanted: number): number {
    const numTokens = Math.min(numWanted, this.#tokens)
    return fitLogitsRows(sequence, numTokens, this.#rows)
  }

  /** As `fit`, within the milliseconds that the target leaves. */
  fitPrompt(sequence: Sequence, numWanted: number): number {
    const numFitting = this.fit(sequence, numWanted)
    if (this.#ms[0]! === Number.POSITIVE_INFINITY) return numFitting
    const first = sequence.numComputedTokens
    const numAffordable = this.#model.affordableTokens(this.#ms[0]!, first, numFitting)
    const least = this.#hasPromptTokens ? 0 : LEAST_PROMPT_TOKENS
    return this.fit(sequence, Math.min(numFitting, Math.max(numAffordable, least)))
  }

  /** Rows of a stream. */
  takeDecode(sequence: Sequence, numTokens: number): void {
    this.#numDecodeTokens += numTokens
    this.#numDecodeKeys += numKeys(sequence, numTokens)
    this.#numDecodeRows += this.#take(sequence, numTokens)
  }

  /** Rows of guesses behind a stream's row. */
  takeGuesses(sequence: Sequence, numGuesses: number): void {
    this.#tokens -= numGuesses
    this.#rows -= numGuesses
    this.#numDecodeTokens += numGuesses
    this.#numDecodeKeys += numGuesses * sequence.numTokens
    this.#numDecodeRows += numGuesses
  }

  takePrompt(sequence: Sequence, numTokens: number): void {
    this.#hasPromptTokens = true
    const { tokenMs, keyMs, logitsRowMs } = this.#model
    const ms = tokenMs * numTokens + keyMs * numKeys(sequence, numTokens)
    this.#ms[0] = Math.max(0, this.#ms[0]! - ms)
    this.#ms[1]! += ms
    this.#ms[0]! -= Math.min(this.#ms[0]!, logitsRowMs * this.#take(sequence, numTokens))
  }

  #take(sequence: Sequence, numTokens: number): number {
    const numRows = numLogitsRows(sequence, numTokens)
    this.#tokens -= numTokens
    this.#rows -= numRows
    return numRows
  }
}

/** Keys that the sequence's next `numTokens` rows attend to, their own among them. */
export function numKeys(sequence: Sequence, numTokens: number): number {
  // n(n+1)/2 without a fraction on the way: a division would make a heap number of every result.
  const isEven = (numTokens & 1) === 0
  const triangle = isEven ? (numTokens >> 1) * (numTokens + 1) : numTokens * ((numTokens + 1) >> 1)
  return numTokens * sequence.numComputedTokens + triangle
}
