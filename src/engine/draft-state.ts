/**
 * What one sequence's guesses have taught, and the KV that a draft model keeps of it. Owns one sequence's numbers; the
 * blocks belong to the draft model's pool. Does not know who guesses.
 */

import { NgramIndex } from './ngram-index.ts'

/** Weight of a guess's outcome against that of the one before. */
const REMEMBERED = 0.9
/** Chances without a guess after which a sequence is tried again with one, first and at most. */
export const FIRST_PAUSE = 8
export const LONGEST_PAUSE = 128

/** How often one way to guess was right. */
export class Luck {
  /** Weighted guesses that were right, and all that were judged. */
  numRight: number
  numJudged: number
  /** Chances passed since the last guess, and how many to pass before trying again. */
  numPassed = 0
  pause: number = FIRST_PAUSE

  constructor(numRight: number, numJudged: number) {
    this.numRight = numRight
    this.numJudged = numJudged
  }

  get chance(): number {
    return this.numRight / this.numJudged
  }

  /** Of `numGuesses` the first `numAccepted` were right; the one after them was judged too. */
  learn(numGuesses: number, numAccepted: number): void {
    const numJudged = Math.min(numGuesses, numAccepted + 1)
    this.numRight = REMEMBERED * this.numRight + numAccepted
    this.numJudged = REMEMBERED * this.numJudged + numJudged
    this.pause = numAccepted > 0 ? FIRST_PAUSE : Math.min(LONGEST_PAUSE, 2 * this.pause)
  }
}

/** Where a draft model's KV of one sequence lies. */
export class DraftKv {
  readonly blockTable: Int32Array
  numBlocks = 0
  /** Positions whose KV is stored; may reach into guesses until they are judged. */
  numComputed = 0
  /** Guesses wanted of the step at hand. */
  numWanted = 0

  constructor(maxBlocks: number) {
    this.blockTable = new Int32Array(maxBlocks)
  }
}

export class DraftState {
  readonly index: NgramIndex
  /** Of prompt lookup, and of the draft model: begins at one in two, and at three in four. */
  readonly lookup: Luck = new Luck(1, 2)
  readonly model: Luck = new Luck(3, 4)
  /** Null until a draft model has computed something of it. */
  kv: DraftKv | null = null
  /** Guesses of the draft model that stand behind the known tokens. */
  numModelGuesses = 0
  /** Who made the guesses of the step at hand. */
  isModelGuess = false
  numAccepted = 0
  numRejected = 0

  constructor(capacity: number) {
    this.index = new NgramIndex(capacity)
  }
}
