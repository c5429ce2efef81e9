/**
 * Sequences that hold no blocks, first come first: a list threaded through the sequences themselves.
 *
 * Does not know why anyone waits, nor in which order lists are served (`fair-queue.ts`). Invariant:
 * W2 Only the queue writes `queuePrevious` and `queueNext`; both are null outside it.
 */

import { invariant } from '../base/errors.ts'
import type { Sequence } from './sequence.ts'

export class WaitingQueue {
  #head: Sequence | null = null
  #tail: Sequence | null = null
  #size = 0

  get size(): number {
    return this.#size
  }

  /** The oldest, or null. */
  get head(): Sequence | null {
    return this.#head
  }

  pushBack(sequence: Sequence): void {
    sequence.queuePrevious = this.#tail
    if (this.#tail === null) this.#head = sequence
    else this.#tail.queueNext = sequence
    this.#tail = sequence
    this.#size += 1
  }

  pushFront(sequence: Sequence): void {
    sequence.queueNext = this.#head
    if (this.#head === null) this.#tail = sequence
    else this.#head.queuePrevious = sequence
    this.#head = sequence
    this.#size += 1
  }

  /** Take a sequence out from anywhere. Cost: O(1). */
  remove(sequence: Sequence): void {
    const { queuePrevious: previous, queueNext: next } = sequence
    invariant(
      previous !== null || this.#head === sequence,
      'W2',
      'a sequence that does not wait is taken out',
    )
    if (previous === null) this.#head = next
    else previous.queueNext = next
    if (next === null) this.#tail = previous
    else next.queuePrevious = previous
    sequence.queuePrevious = null
    sequence.queueNext = null
    this.#size -= 1
  }

  /** Cost: O(size); for tests and idle moments. */
  checkIntegrity(): void {
    let size = 0
    let previous: Sequence | null = null
    for (let sequence = this.#head; sequence !== null; sequence = sequence.queueNext) {
      invariant(
        sequence.queuePrevious === previous,
        'W2',
        'the waiting queue disagrees with itself',
      )
      previous = sequence
      size += 1
    }
    invariant(this.#tail === previous && this.#size === size, 'W2', 'the waiting queue miscounts')
  }
}
