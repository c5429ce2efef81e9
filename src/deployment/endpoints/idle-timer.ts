/**
 * Says when a model was not used for long enough. Owns the time of the last use and one timer. Does not know models.
 *
 * A timer that fires early, or a clock that jumped, is looked at again: only elapsed time of the monotonic clock counts.
 */

import type { Clock } from '../../base/clock.ts'
import type { Timer } from '../../worker/timer.ts'

export interface IdleTimerOptions {
  readonly clock: Clock
  readonly timer: Timer
  /** @param words - `unused for 300 s` */
  onElapsed(words: string): void
}

export class IdleTimer {
  readonly #options: IdleTimerOptions
  #lastUsedMs: number
  #wasUsed = false
  #cancel: () => void = () => {}

  constructor(options: IdleTimerOptions) {
    this.#options = options
    this.#lastUsedMs = options.clock.nowMs()
  }

  /** Or of its making, when it was never used. */
  get lastUsedMs(): number {
    return this.#lastUsedMs
  }

  /** `null` = it was never used. */
  get idleMs(): number | null {
    return this.#wasUsed ? this.#options.clock.nowMs() - this.#lastUsedMs : null
  }

  use(): void {
    this.#wasUsed = true
    this.#lastUsedMs = this.#options.clock.nowMs()
  }

  /** Watch from now on, in place of what was watched. @param timeoutMs - `null` = not at all */
  watch(timeoutMs: number | null): void {
    this.#cancel()
    if (timeoutMs === null) return
    this.#wait(timeoutMs, this.#options.clock.nowMs())
  }

  #wait(timeoutMs: number, sinceMs: number): void {
    const { clock, timer, onElapsed } = this.#options
    const fromMs = Math.max(this.#lastUsedMs, sinceMs)
    const leftMs = fromMs + timeoutMs - clock.nowMs()
    if (leftMs <= 0) onElapsed(`unused for ${Math.round(timeoutMs / 1000)} s`)
    else this.#cancel = timer.after(leftMs, () => this.#wait(timeoutMs, sinceMs))
  }
}
