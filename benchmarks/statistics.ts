/** Order statistics of repeated measurements. Pure. */

export interface Spread {
  readonly min: number
  readonly median: number
  readonly max: number
}

/** @param values - at least one */
export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b)
  return { min: sorted[0] as number, median: percentile(sorted, 0.5), max: sorted.at(-1) as number }
}

/** Linear interpolation between ranks. @param sorted - ascending, at least one; @param p - 0 … 1 */
export function percentile(sorted: readonly number[], p: number): number {
  const rank = (sorted.length - 1) * p
  const low = Math.floor(rank)
  const lowValue = sorted[low] as number
  const highValue = sorted[Math.min(low + 1, sorted.length - 1)] as number
  return lowValue + (highValue - lowValue) * (rank - low)
}

/** Deterministic generator of numbers in [0, 1): mulberry32, enough for prompts and arrivals. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

/** Token ids of a text that means nothing. */
export function randomIds(count: number, seed: number): number[] {
  const random = seededRandom(seed + 1)
  return Array.from({ length: count }, () => 100 + Math.floor(random() * 40_000))
}
