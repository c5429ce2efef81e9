/** Time that stands still until a test moves it. */

import type { Clock } from '../../src/base/clock.ts'

export class ManualClock implements Clock {
  #nowMs = 0

  nowMs(): number {
    return this.#nowMs
  }

  wallMs(): number {
    return 1_750_000_000_000 + this.#nowMs
  }

  advance(milliseconds: number): void {
    this.#nowMs += milliseconds
  }
}
