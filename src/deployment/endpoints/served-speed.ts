/**
 * How fast a variant gives its tokens, measured from its answers: tokens a second of one choice, as callers had it, with
 * whatever shared the batch. Owns the last measurements. Pure but for that.
 */

/** Enough for a steady median, few enough to follow a machine that has become slower. */
const KEPT = 32
/** Of fewer, most of the time is not decoding. */
const LEAST_TOKENS = 8
/** Before so many answers, chance decides. */
const LEAST_ANSWERS = 3

export class ServedSpeed {
  readonly #speeds: number[] = []

  /** @param numTokens - of each choice @param decodeMs - from the first token to the last */
  add(numTokens: number, decodeMs: number): void {
    if (numTokens < LEAST_TOKENS || decodeMs <= 0) return
    this.#speeds.push(((numTokens - 1) * 1000) / decodeMs)
    if (this.#speeds.length > KEPT) this.#speeds.shift()
  }

  /** Median; `null` while too few answers were long enough. */
  get tokensPerSecond(): number | null {
    const sorted = [...this.#speeds].sort((a, b) => a - b)
    if (sorted.length < LEAST_ANSWERS) return null
    return sorted[Math.floor(sorted.length / 2)] as number
  }
}
