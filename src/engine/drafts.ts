/**
 * Guesses the next tokens of streams from what stands in them already (prompt lookup), as many as are worth computing.
 *
 *   known  … a b c d e … a b c│      the run "a b c" stood before: guess "d e …"
 *   rows       c  d  e                one row each; what row c draws is certain, and row d counts when it drew "d", …
 *
 * Draws are keyed by (seed, choice, position) and rows have the bits they always have (D5), so the tokens are those of
 * an engine without drafts. Only sequences whose sampler looks at nothing but the row are guessed for: no penalties, and
 * `minTokens` behind them.
 * A guess is worth a row when it is expected to bring more tokens a millisecond than the step has without it: from the
 * step-cost model and from how often the sequence's guesses were right. So there are none where they would slow a batch.
 * Owns nothing but the step's running sums; what is learned lies in the sequence. Allocates nothing in a step.
 * Sources: arXiv:2304.04487 (prompt lookup), arXiv:2211.17192 (acceptance).
 */

import { NgramIndex } from './ngram-index.ts'
import type { Sequence } from './sequence.ts'
import type { StepCostModel } from './step-cost-model.ts'

/** Weight of a guess's outcome against that of the one before. */
const REMEMBERED = 0.9
/** Chances without a guess after which a sequence is tried again with one, first and at most. */
const FIRST_PAUSE = 8
const LONGEST_PAUSE = 128

/** What one sequence's guesses have taught. */
export class DraftState {
  readonly index: NgramIndex
  /** Weighted guesses that were right, and all that were judged; begins at one in two. */
  numRight = 1
  numJudged = 2
  /** Chances passed since the last guess, and how many to pass before trying again. */
  numPassed = 0
  pause: number = FIRST_PAUSE
  numAccepted = 0
  numRejected = 0

  constructor(capacity: number) {
    this.index = new NgramIndex(capacity)
  }
}

/** Whether what is drawn depends on the row alone from `minTokens` on. */
export function canDraft({ params }: Sequence): boolean {
  const { presencePenalty, frequencyPenalty, repetitionPenalty } = params
  return presencePenalty === 0 && frequencyPenalty === 0 && repetitionPenalty === 1
}

export class Drafts {
  readonly #model: StepCostModel
  readonly #most: number
  /** Tokens expected of the step, and its predicted milliseconds. In an array, because numbers would be boxed. */
  readonly #sums = new Float64Array(2)

  /** @param most - guesses for one sequence in one step */
  constructor(model: StepCostModel, most: number) {
    this.#model = model
    this.#most = most
  }

  /** A step begins with these decode rows. */
  begin(numStreams: number, numKeys: number): void {
    this.#sums[0] = numStreams
    this.#sums[1] = this.#model.predictMs(numStreams, numKeys, numStreams)
  }

  /** Write up to `room` guesses behind the sequence's known tokens. @returns how many */
  propose(sequence: Sequence, room: number): number {
    const { draft } = sequence
    if (draft === null || sequence.numOutputTokens < sequence.params.minTokens) return 0
    const from = draft.index.find(sequence.tokenIds, sequence.numTokens)
    if (from < 0) return 0
    const numGuesses = this.#numWorth(sequence, draft, Math.min(room, this.#most))
    // A guess may itself be copied: text that repeats with a period shorter than the draft.
    for (let index = 0; index < numGuesses; index++)
      sequence.tokenIds[sequence.numTokens + index] = sequence.tokenIds[from + index]!
    return numGuesses
  }

  /** What became of the sequence's guesses: the first `numAccepted` were right. */
  learn(sequence: Sequence, numAccepted: number): void {
    const { draft, numDraftTokens } = sequence
    if (draft === null || numDraftTokens === 0) return
    const numJudged = Math.min(numDraftTokens, numAccepted + 1)
    draft.numRight = REMEMBERED * draft.numRight + numAccepted
    draft.numJudged = REMEMBERED * draft.numJudged + numJudged
    draft.numAccepted += numAccepted
    draft.numRejected += numDraftTokens - numAccepted
    draft.pause = numAccepted > 0 ? FIRST_PAUSE : Math.min(LONGEST_PAUSE, 2 * draft.pause)
  }

  #numWorth(sequence: Sequence, draft: DraftState, most: number): number {
    const sums = this.#sums
    const { tokenMs, logitsRowMs, keyMs } = this.#model
    const rowMs = tokenMs + logitsRowMs + keyMs * sequence.numTokens
    const chance = draft.numRight / draft.numJudged
    let expected = chance
    let numWorth = 0
    while (numWorth < most && expected * sums[1]! > rowMs * sums[0]!) {
      sums[0]! += expected
      sums[1]! += rowMs
      expected *= chance
      numWorth += 1
    }
    draft.numPassed = numWorth > 0 ? 0 : draft.numPassed + 1
    if (draft.numPassed <= draft.pause || most === 0) return numWorth
    // Nothing is learned without a guess; the text may have begun to repeat itself.
    draft.numPassed = 0
    return 1
  }
}
