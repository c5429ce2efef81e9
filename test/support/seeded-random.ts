/** A small seeded generator, so that a failing case can be named by its seed. Source: mulberry32, public domain. */

export interface SeededRandom {
  /** 0 ≤ x < 1 */
  next(): number
  /** An integer, 0 ≤ i < limit. */
  below(limit: number): number
}

export function seededRandom(seed: number): SeededRandom {
  let state = seed >>> 0
  function next(): number {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  return { next, below: (limit) => Math.floor(next() * limit) }
}
