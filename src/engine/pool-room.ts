/**
 * Whether the pool can hold a sequence whole: all of its known tokens, beside what running ones still have to compute.
 * Owns the count of blocks that were promised to those, while sequences are let in. Reads pool and sequences.
 */

import type { BlockId } from '../base/ids.ts'
import type { BlockPool } from './block-pool.ts'
import { numBlocksFor } from './block-table.ts'
import type { Sequence } from './sequence.ts'

export class PoolRoom {
  readonly #pool: BlockPool
  readonly #blockSize: number
  #numPromised = 0

  constructor(pool: BlockPool, blockSize: number) {
    this.#pool = pool
    this.#blockSize = blockSize
  }

  /** Begin anew with whoever runs. Cost: O(running). */
  count(running: readonly Sequence[]): void {
    this.#numPromised = 0
    for (let index = 0; index < running.length; index++) this.promise(running[index]!)
  }

  /** One that came in: what it lacks for tokens it already knows is spoken for. */
  promise(sequence: Sequence): void {
    const numNeeded = numBlocksFor(sequence.numTokens, this.#blockSize)
    this.#numPromised += Math.max(0, numNeeded - sequence.numBlocks)
  }

  /** @param hits - blocks of the prefix cache it would begin with; those that nobody holds cost a free block too */
  fits(sequence: Sequence, hits: Int32Array | undefined, numHits: number): boolean {
    let numNeeded = numBlocksFor(sequence.numTokens, this.#blockSize) - numHits
    for (let index = 0; index < numHits; index++) {
      if (this.#pool.refCount(hits![index]! as BlockId) === 0) numNeeded += 1
    }
    return numNeeded <= this.#pool.numFree - this.#numPromised
  }
}
