/**
 * When something that failed is tried again: min(max, first · 2^(n - 1)) · (0.5 … 1) after the nth failure in a row. Owns
 * the count and one timer.
 */

import type { Clock } from '../../base/clock.ts'
import type { Timer } from '../../worker/timer.ts'

const FIRST_DELAY_MS = 1_000
const MAX_DELAY_MS = 300_000

export interface RetryBackoffOptions {
  readonly clock: Clock
  readonly timer: Timer
  /** 0 ≤ x < 1; keeps several models of one machine from trying in step. */
  chance(): number
  /** It may be tried again. */
  onOver(): void
}

export class RetryBackoff {
  readonly #options: RetryBackoffOptions
  #numFailures = 0
  #overAtMs = Number.NEGATIVE_INFINITY
  #cancel: () => void = () => {}

  constructor(options: RetryBackoffOptions) {
    this.#options = options
  }

  /** Milliseconds until it may be tried again; 0 = now. */
  get leftMs(): number {
    return Math.max(0, this.#overAtMs - this.#options.clock.nowMs())
  }

  failed(): void {
    const { clock, timer, chance, onOver } = this.#options
    this.#numFailures += 1
    // The exponent is bounded, for 2 ** 1100 is no number.
    const exponent = Math.min(this.#numFailures - 1, 20)
    const delayMs = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** exponent) * (0.5 + 0.5 * chance())
    this.#overAtMs = clock.nowMs() + delayMs
    this.#cancel()
    this.#cancel = timer.after(delayMs, onOver)
  }

  succeeded(): void {
    this.#numFailures = 0
  }

  /** Never say again that it is over. */
  stop(): void {
    this.#cancel()
  }
}
