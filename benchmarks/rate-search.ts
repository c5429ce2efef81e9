/**
 * Finds the highest rate that passes, in few probes: rates grow until one fails (or shrink until one passes), then the gap
 * between the best that passed and the least that failed is halved, until it is narrow. Pure: it says what to try next.
 *
 * Assumes that whatever fails at a rate fails above it. Near the edge luck decides, so a rate has failed when it failed
 * `tries` times, and the gap is not narrowed below what a probe can tell apart.
 */

export interface RateSearchOptions {
  readonly firstRate: number
  /** Growth while no rate has failed, > 1. */
  readonly growth: number
  /** The search is over when the least that failed is at most this many times the best that passed. */
  readonly precision: number
  /** Nothing below this is tried; it is a failure of the whole then. */
  readonly leastRate: number
  /** How often a rate must fail, ≥ 1. */
  readonly tries: number
}

export class RateSearch {
  readonly #options: RateSearchOptions
  #passed = 0
  #failed = Number.POSITIVE_INFINITY
  #doubted: { readonly rate: number; readonly numFailures: number } | null = null

  constructor(options: RateSearchOptions) {
    this.#options = options
  }

  /** The highest rate that passed; 0 when none did. */
  get best(): number {
    return this.#passed
  }

  /** @returns the rate to try now, or `null` when nothing is left to find out */
  next(): number | null {
    if (this.#doubted !== null) return this.#doubted.rate
    const { firstRate, growth, precision, leastRate } = this.#options
    if (this.#failed === Number.POSITIVE_INFINITY) {
      return this.#passed === 0 ? firstRate : this.#passed * growth
    }
    if (this.#passed === 0) {
      const lower = this.#failed / growth
      return lower >= leastRate ? lower : null
    }
    if (this.#failed / this.#passed <= precision) return null
    return Math.sqrt(this.#failed * this.#passed)
  }

  report(rate: number, hasPassed: boolean): void {
    const before = this.#doubted?.rate === rate ? this.#doubted.numFailures : 0
    this.#doubted = null
    if (hasPassed) this.#passed = Math.max(this.#passed, rate)
    else if (before + 1 < this.#options.tries) this.#doubted = { rate, numFailures: before + 1 }
    else this.#failed = Math.min(this.#failed, rate)
  }
}
