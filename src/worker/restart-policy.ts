/**
 * When an engine that ended is started again, and when it is given up. Pure but for the injected chance.
 *
 *   delay of the nth failure in a row = min(maxDelayMs, firstDelayMs * 2^(n - 1)) * (0.5 … 1)
 *
 * The chance keeps several replicas of one machine from starting in step. A run that was ready for `stableMs` ends the
 * row of failures. Does not know processes.
 */

export interface RestartSettings {
  readonly firstDelayMs: number
  readonly maxDelayMs: number
  /** Failures in a row after which it is given up. */
  readonly maxFailures: number
  readonly stableMs: number
}

export const DEFAULT_RESTART_SETTINGS: RestartSettings = {
  firstDelayMs: 500,
  maxDelayMs: 30_000,
  maxFailures: 6,
  stableMs: 60_000,
}

export class RestartPolicy {
  readonly #settings: RestartSettings
  readonly #chance: () => number
  #numFailures = 0

  /** @param chance - 0 ≤ x < 1 */
  constructor(settings: RestartSettings, chance: () => number) {
    this.#settings = settings
    this.#chance = chance
  }

  /** Failures in a row, the last one included. */
  get numFailures(): number {
    return this.#numFailures
  }

  /**
   * Count an end.
   *
   * @param readyForMs - how long it had been ready; 0 when it never was
   * @returns milliseconds until the next start, or `null` to give up
   */
  delayAfterEnd(readyForMs: number): number | null {
    const { firstDelayMs, maxDelayMs, maxFailures, stableMs } = this.#settings
    if (readyForMs >= stableMs) this.#numFailures = 0
    this.#numFailures += 1
    if (this.#numFailures >= maxFailures) return null
    const delayMs = Math.min(maxDelayMs, firstDelayMs * 2 ** (this.#numFailures - 1))
    return delayMs * (0.5 + 0.5 * this.#chance())
  }
}
