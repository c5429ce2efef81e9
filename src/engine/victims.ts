/**
 * Who is put out when blocks run out, or when a higher tier needs room: of the lowest tier the sequence that loses the
 * fewest computed tokens, of these the one that came last.
 *
 * V1 The oldest sequence of the highest tier that runs is never chosen: so it ends, then the next one does, and nothing
 *    starves while sequences push each other out.
 * Reads the running list (in order of rank); writes nothing, allocates nothing. Cost: O(running).
 */

import type { Sequence } from './sequence.ts'

/** Index of the victim among those of at least `leastRank`, or -1. */
export function chooseVictim(running: readonly Sequence[], leastRank: number): number {
  const spared = oldestOfFirstRank(running)
  let victim = -1
  for (let index = 0; index < running.length; index++) {
    if (index === spared || running[index]!.rank < leastRank) continue
    if (victim < 0 || losesLess(running[index]!, running[victim]!)) victim = index
  }
  return victim
}

function losesLess(a: Sequence, b: Sequence): boolean {
  if (a.rank !== b.rank) return a.rank > b.rank
  if (a.numComputedTokens !== b.numComputedTokens) return a.numComputedTokens < b.numComputedTokens
  return a.arrivalIndex > b.arrivalIndex
}

function oldestOfFirstRank(running: readonly Sequence[]): number {
  let oldest = 0
  for (let index = 1; index < running.length; index++) {
    if (running[index]!.rank !== running[0]!.rank) break
    if (running[index]!.arrivalIndex < running[oldest]!.arrivalIndex) oldest = index
  }
  return oldest
}
