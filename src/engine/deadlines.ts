/**
 * Who may wait no longer: a binary heap of sequences by the time until which each is willing to wait for its first
 * admission. Does not know the queue nor why anyone waits.
 * D1 A sequence's `deadlineIndex` is its place here, -1 elsewhere.
 */

import type { Sequence } from './sequence.ts'

export class Deadlines {
  readonly #heap: Sequence[] = []

  /** Cost: O(log entries). */
  add(sequence: Sequence): void {
    if (sequence.deadlineMs === Number.POSITIVE_INFINITY) return
    this.#heap.push(sequence)
    this.#rise(this.#heap.length - 1, sequence)
  }

  /** Take a sequence out that is let in or has ended; one without a deadline is not here. */
  remove(sequence: Sequence): void {
    const index = sequence.deadlineIndex
    if (index < 0) return
    sequence.deadlineIndex = -1
    const last = this.#heap.pop()!
    if (last === sequence) return
    this.#rise(index, last)
    this.#sink(last.deadlineIndex, last)
  }

  /** Take out one whose deadline has come, or null. */
  takeExpired(nowMs: number): Sequence | null {
    const first = this.#heap[0]
    if (first === undefined || first.deadlineMs > nowMs) return null
    this.remove(first)
    return first
  }

  #rise(from: number, sequence: Sequence): void {
    let index = from
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (this.#heap[parent]!.deadlineMs <= sequence.deadlineMs) break
      this.#place(this.#heap[parent]!, index)
      index = parent
    }
    this.#place(sequence, index)
  }

  #sink(from: number, sequence: Sequence): void {
    let index = from
    for (;;) {
      let child = 2 * index + 1
      if (child >= this.#heap.length) break
      const right = child + 1
      if (
        right < this.#heap.length &&
        this.#heap[right]!.deadlineMs < this.#heap[child]!.deadlineMs
      )
        child = right
      if (this.#heap[child]!.deadlineMs >= sequence.deadlineMs) break
      this.#place(this.#heap[child]!, index)
      index = child
    }
    this.#place(sequence, index)
  }

  #place(sequence: Sequence, index: number): void {
    this.#heap[index] = sequence
    sequence.deadlineIndex = index
  }
}
