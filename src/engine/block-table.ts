/**
 * How a sequence's block table grows and is given up; the one place that moves block ids between pool and sequence.
 * Reads and writes `sequence.blockTable` and `sequence.numBlocks`, and the pool. Allocates nothing.
 */

import type { BlockId } from '../base/ids.ts'
import type { BlockPool } from './block-pool.ts'
import type { Sequence } from './sequence.ts'

/** Blocks that hold `numTokens` tokens. */
export function numBlocksFor(numTokens: number, blockSize: number): number {
  return Math.ceil(numTokens / blockSize)
}

/** Append blocks until the table holds `numBlocks`. The caller has made sure that the pool has them. */
export function growBlockTable(sequence: Sequence, numBlocks: number, pool: BlockPool): void {
  for (let index = sequence.numBlocks; index < numBlocks; index++) {
    sequence.blockTable[index] = pool.allocate()
    sequence.numBlocks = index + 1
  }
}

/** Begin an empty table with blocks that hold the sequence's first tokens already. */
export function attachBlocks(
  sequence: Sequence,
  blockIds: Int32Array,
  numBlocks: number,
  pool: BlockPool,
): void {
  for (let index = 0; index < numBlocks; index++) {
    pool.addReference(blockIds[index]! as BlockId)
    sequence.blockTable[index] = blockIds[index]!
  }
  sequence.numBlocks = numBlocks
}

/** Cut off blocks beyond the first `numBlocks`. */
export function trimBlockTable(sequence: Sequence, numBlocks: number, pool: BlockPool): void {
  if (sequence.numBlocks <= numBlocks) return
  for (let index = sequence.numBlocks - 1; index >= numBlocks; index--)
    pool.release(sequence.blockTable[index]! as BlockId)
  sequence.numBlocks = numBlocks
  sequence.tableVersion += 1
}

/** Release all blocks, the last one first (see the order in `block-pool.ts`). */
export function releaseBlockTable(sequence: Sequence, pool: BlockPool): void {
  trimBlockTable(sequence, 0, pool)
}
