/**
 * The last, partly filled block of a prompt, for the choices that were held behind the first one: each begins with a
 * copy of it, and computes nothing but the prompt's last row, which its own first draw needs.
 *
 *   leader     [ full ][ full ][ tail ▒░░ ] → goes on writing behind its prompt
 *   follower   [ same ][ same ][ copy ▒░░ ]   made when it comes in (copy on write: its first row writes)
 *
 * Until then each follower has a reference to the tail, so that the first one may end or be put out. Whatever stands
 * in it behind the prompt is never read: a row sees only positions before its own. Under pressure these references are
 * the first to go, and the rest of the prompt is computed.
 * Owns those references. T1 A sequence with a tail waits, and has the tokens of the one that computed it.
 */

import { invariant } from '../base/errors.ts'
import type { BlockId } from '../base/ids.ts'
import type { BlockPool } from './block-pool.ts'
import { type Sequence, SequenceStatus } from './sequence.ts'

export class SharedTails {
  readonly #pool: BlockPool
  readonly #blockSize: number
  #holders: Sequence[] = []

  constructor(pool: BlockPool, blockSize: number) {
    this.#pool = pool
    this.#blockSize = blockSize
  }

  /** Hold the leader's tail for its followers. */
  share(leader: Sequence, followers: readonly Sequence[]): void {
    const index = this.#tailIndex(leader)
    // Nothing of it would be used but the row that is computed anyway.
    if ((leader.numPromptTokens - 1) % this.#blockSize === 0) return
    for (const follower of followers) {
      follower.tailBlock = leader.blockTable[index]!
      this.#pool.addReference(follower.tailBlock as BlockId)
      this.#holders.push(follower)
    }
  }

  /** Tokens that the sequence has with its tail, when `numBlocks` full blocks before it were found; else 0. */
  numTokens(sequence: Sequence, numBlocks: number): number {
    if (sequence.tailBlock < 0 || numBlocks !== this.#tailIndex(sequence)) return 0
    return sequence.numPromptTokens - 1
  }

  /** The sequence needs its reference no more, or has none. */
  release(sequence: Sequence): void {
    if (sequence.tailBlock < 0) return
    this.#pool.release(sequence.tailBlock as BlockId)
    sequence.tailBlock = -1
    this.#holders.splice(this.#holders.indexOf(sequence), 1)
  }

  /** Release all. @returns whether there were any */
  releaseAll(): boolean {
    const holders = this.#holders
    if (holders.length === 0) return false
    this.#holders = []
    for (const sequence of holders) {
      this.#pool.release(sequence.tailBlock as BlockId)
      sequence.tailBlock = -1
    }
    return true
  }

  #tailIndex(sequence: Sequence): number {
    return Math.floor((sequence.numPromptTokens - 1) / this.#blockSize)
  }

  /** Add to the holders of each block. */
  countInto(numHolders: Int32Array): void {
    for (const sequence of this.#holders) {
      const isHeld = sequence.tailBlock >= 0 && sequence.status < SequenceStatus.running
      invariant(isHeld, 'T1', 'a tail is held for a sequence that does not wait for it')
      numHolders[sequence.tailBlock]! += 1
    }
  }
}
