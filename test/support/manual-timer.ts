/** A clock and a timer that move together, when told. */

import type { Timer } from '../../src/worker/timer.ts'
import { ManualClock } from './manual-clock.ts'

interface Waiting {
  readonly atMs: number
  readonly call: () => void
}

export class ManualTimer extends ManualClock implements Timer {
  readonly #waiting = new Set<Waiting>()

  get numWaiting(): number {
    return this.#waiting.size
  }

  after(milliseconds: number, call: () => void): () => void {
    const waiting = { atMs: this.nowMs() + milliseconds, call }
    this.#waiting.add(waiting)
    return () => this.#waiting.delete(waiting)
  }

  /** Move on, calling what falls due, in order, at its own time. */
  override advance(milliseconds: number): void {
    const endMs = this.nowMs() + milliseconds
    for (;;) {
      const due = [...this.#waiting].filter(({ atMs }) => atMs <= endMs)
      const next = due.sort((a, b) => a.atMs - b.atMs)[0]
      if (next === undefined) break
      this.#waiting.delete(next)
      super.advance(Math.max(0, next.atMs - this.nowMs()))
      next.call()
    }
    super.advance(endMs - this.nowMs())
  }
}
