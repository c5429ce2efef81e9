/** Timers that fire when the test moves its clock past them. */

import type { Timers } from '../../src/server/timers.ts'
import { ManualClock } from './manual-clock.ts'

export class ManualTimers implements Timers {
  readonly clock = new ManualClock()
  #pending: { readonly atMs: number; readonly callback: () => void }[] = []

  schedule(delayMs: number, callback: () => void): () => void {
    const timer = { atMs: this.clock.nowMs() + delayMs, callback }
    this.#pending.push(timer)
    return () => {
      this.#pending = this.#pending.filter((one) => one !== timer)
    }
  }

  get numPending(): number {
    return this.#pending.length
  }

  /** Move the clock and fire what is due, in the order of time. */
  advance(milliseconds: number): void {
    const untilMs = this.clock.nowMs() + milliseconds
    for (;;) {
      const due = this.#pending
        .filter(({ atMs }) => atMs <= untilMs)
        .sort((first, second) => first.atMs - second.atMs)[0]
      if (due === undefined) break
      this.#pending = this.#pending.filter((one) => one !== due)
      this.clock.advance(due.atMs - this.clock.nowMs())
      due.callback()
    }
    this.clock.advance(untilMs - this.clock.nowMs())
  }
}
