/**
 * Guesses the next tokens of streams, as many as are worth computing: from what stands in them already (prompt lookup),
 * or as a draft model guessed before the step (`draft-model.ts`).
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

import { DraftState, type Luck } from './draft-state.ts'
import type { Sequence } from './sequence.ts'
import type { StepCostModel } from './step-cost-model.ts'

/** Whether what is drawn depends on the row alone from `minTokens` on. */
export function canDraft({ params }: Sequence): boolean {
  const { presencePenalty, frequencyPenalty, repetitionPenalty } = params
  return presencePenalty === 0 && frequencyPenalty === 0 && repetitionPenalty === 1
}

/** Where the sequence's end stood before, when prompt lookup guesses at least as well as a draft model; else -1. */
export function lookUp(sequence: Sequence): number {
  const { draft } = sequence
  if (draft === null) return -1
  const from = draft.index.find(sequence.tokenIds, sequence.numTokens)
  return from >= 0 && (draft.kv === null || draft.lookup.chance >= draft.model.chance) ? from : -1
}

export class Drafts {
  readonly #model: StepCostModel
  readonly #most: number
  readonly #looksUp: boolean
  /** Tokens expected of the step, and its predicted milliseconds. In an array, because numbers would be boxed. */
  readonly #sums = new Float64Array(2)

  /** @param most - guesses for one sequence in one step */
  constructor(model: StepCostModel, most: number, looksUp = true) {
    this.#model = model
    this.#most = most
    this.#looksUp = looksUp
  }

  /** The sequence is let in: what its guesses teach is kept from now on, where any can be made. */
  admit(sequence: Sequence): void {
    if (sequence.draft === null && canDraft(sequence))
      sequence.draft = new DraftState(sequence.capacity)
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
    draft.isModelGuess = draft.numModelGuesses > 0
    // What they cost is spent, and was weighed before.
    if (draft.isModelGuess) return Math.min(room, draft.numModelGuesses)
    const from = this.#looksUp ? lookUp(sequence) : -1
    if (from < 0) return 0
    const numGuesses = this.#numWorth(sequence, draft.lookup, Math.min(room, this.#most))
    // A guess may itself be copied: text that repeats with a period shorter than the draft.
    for (let index = 0; index < numGuesses; index++)
      sequence.tokenIds[sequence.numTokens + index] = sequence.tokenIds[from + index]!
    return numGuesses
  }

  /** What became of the sequence's guesses: the first `numAccepted` were right. */
  learn(sequence: Sequence, numAccepted: number): void {
    const { draft, numDraftTokens } = sequence
    if (draft === null || numDraftTokens === 0) return
    const luck = draft.isModelGuess ? draft.model : draft.lookup
    luck.learn(numDraftTokens, numAccepted)
    draft.numAccepted += numAccepted
    draft.numRejected += numDraftTokens - numAccepted
  }

  #numWorth(sequence: Sequence, luck: Luck, most: number): number {
    const sums = this.#sums
    const { tokenMs, logitsRowMs, keyMs } = this.#model
    const rowMs = tokenMs + logitsRowMs + keyMs * sequence.numTokens
    const { chance } = luck
    let expected = chance
    let numWorth = 0
    while (numWorth < most && expected * sums[1]! > rowMs * sums[0]!) {
      sums[0]! += expected
      sums[1]! += rowMs
      expected *= chance
      numWorth += 1
    }
    luck.numPassed = numWorth > 0 ? 0 : luck.numPassed + 1
    if (luck.numPassed <= luck.pause || most === 0) return numWorth
    // Nothing is learned without a guess; the text may have begun to repeat itself.
    luck.numPassed = 0
    return 1
  }
}
