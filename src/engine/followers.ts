/**
 * Choices of one request share its prompt: the others wait until the first one has computed it, and then find its full
 * blocks in the prefix cache, and a copy of the last one in `shared-tails.ts`.
 *
 *   leader     ▐ prompt ▌▐ decode …            its `followers`: held, not yet in the queue
 *   follower             ▐ the prompt's last row, decode …
 *
 * Owns the lists in the sequences. Does not know the queue: whoever is let go is returned to be queued.
 * F1 A held sequence is in exactly one list, its leader's; `leader` is null for everyone else.
 * F2 Only sequences that live lead; when one ends before its prompt was computed, the first of its followers leads.
 */

import { invariant } from '../base/errors.ts'
import type { KvMoves } from './kv-moves.ts'
import type { Sequence } from './sequence.ts'

/** Rows that kernels compute together anyway: fewer are not worth waiting a step for. */
const FEW_TOKENS = 8

/** Prompts from here on are worth waiting for: a full block where blocks cannot be copied, else all but the shortest. */
export function leastSharedTokens(blockSize: number, moves: KvMoves | null): number {
  return 1 + (moves === null ? blockSize : Math.min(FEW_TOKENS, blockSize))
}

export class Followers {
  readonly #leastTokens: number
  #size = 0

  /** @param leastTokens - of a prompt that is worth waiting for */
  constructor(leastTokens: number) {
    this.#leastTokens = leastTokens
  }

  /** Sequences that are held. */
  get size(): number {
    return this.#size
  }

  /** Hold `sequence` behind `leader`, unless there is nothing to wait for. @returns whether it is held */
  hold(sequence: Sequence, leader: Sequence): boolean {
    const first = leader.leader ?? leader
    const sharesBlocks = sequence.numPromptTokens >= this.#leastTokens
    const isComputed = first.numOutputTokens > 0
    // Its own rows report on the prompt, so it computes all of them anyway.
    if (!sharesBlocks || isComputed || first.isFinished || sequence.params.promptLogprobs !== null)
      return false
    sequence.leader = first
    first.followers.push(sequence)
    this.#size += 1
    return true
  }

  /** Take a held sequence out. */
  remove(sequence: Sequence): void {
    const { leader } = sequence
    invariant(leader !== null, 'F1', 'a sequence that nobody leads is let go')
    const index = leader.followers.indexOf(sequence)
    invariant(index >= 0, 'F1', 'a held sequence is not in its leader’s list')
    leader.followers.splice(index, 1)
    sequence.leader = null
    this.#size -= 1
  }

  /** The leader's prompt was computed: all of its followers may go. */
  release(leader: Sequence): readonly Sequence[] {
    const released = leader.followers
    leader.followers = []
    for (const sequence of released) sequence.leader = null
    this.#size -= released.length
    return released
  }

  /** The leader ended without its prompt: the first follower may go, and leads the others. */
  succeed(leader: Sequence): Sequence | null {
    const [successor, ...others] = leader.followers
    leader.followers = []
    if (successor === undefined) return null
    successor.leader = null
    successor.followers = others
    for (const sequence of others) sequence.leader = successor
    this.#size -= 1
    return successor
  }
}
