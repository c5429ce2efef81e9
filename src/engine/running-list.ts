/** The running list: in order of rank, of equal ranks in order of admission. Lists are the scheduler's. */

import type { Sequence } from './sequence.ts'

export function insertByRank(running: Sequence[], sequence: Sequence): void {
  let index = running.length
  running.push(sequence)
  while (index > 0 && running[index - 1]!.rank > sequence.rank) {
    running[index] = running[index - 1]!
    index -= 1
  }
  running[index] = sequence
}

/** Take one out from anywhere; the others close up in order. */
export function removeAt(running: Sequence[], index: number): void {
  running.copyWithin(index, index + 1)
  running.length -= 1
}
