/**
 * A place in the line for memory that nobody waits for is kept for a while, for whoever was told to come again. Owns one
 * timer at most.
 */

import type { Timer } from '../../worker/timer.ts'

/** How long a load that nobody waits for stays in line, milliseconds. */
const INTEREST_MS = 30_000

export class LoadInterest {
  readonly #timer: Timer
  readonly #onLost: () => void
  #cancel: () => void = () => {}

  constructor(timer: Timer, onLost: () => void) {
    this.#timer = timer
    this.#onLost = onLost
  }

  /** Somebody has left the line, or was told to come again: the time begins anew. */
  renew(): void {
    this.#cancel()
    this.#cancel = this.#timer.after(INTEREST_MS, this.#onLost)
  }

  stop(): void {
    this.#cancel()
    this.#cancel = () => {}
  }
}
