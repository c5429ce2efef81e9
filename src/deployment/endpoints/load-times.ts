/**
 * How long a model took to load, and from that when a refused caller should come again. Owns the last measurements.
 * Pure but for that; times are milliseconds.
 */

/** Enough for a steady median, few enough to follow a machine that has become slower. */
const KEPT = 16
/** Said before anything was measured: about what loading a small model takes. */
const FIRST_GUESS_MS = 5_000
const MAX_RETRY_SECONDS = 600

export class LoadTimes {
  readonly #times: number[] = []

  add(loadMs: number): void {
    this.#times.push(loadMs)
    if (this.#times.length > KEPT) this.#times.shift()
  }

  /** `null` before the first. */
  get medianMs(): number | null {
    const sorted = [...this.#times].sort((a, b) => a - b)
    const { length } = sorted
    if (length === 0) return null
    const high = sorted[Math.floor(length / 2)] as number
    const low = sorted[Math.floor((length - 1) / 2)] as number
    return (low + high) / 2
  }

  /**
   * Whole seconds until it should be ready, 1 … 600.
   *
   * @param elapsedMs - for how long it has been loading
   * @param waitMs - before it begins, such as a back-off
   */
  retryAfterSeconds(elapsedMs: number, waitMs = 0): number {
    const left = Math.max(0, (this.medianMs ?? FIRST_GUESS_MS) - elapsedMs) + Math.max(0, waitMs)
    return Math.min(MAX_RETRY_SECONDS, Math.max(1, Math.ceil(left / 1000)))
  }
}
