/**
 * The KV memory of a draft model: a pool of its own, and which sequence has how much of it. Nothing is shared and nothing
 * is found again: a draft model computes each sequence's tokens for itself. Owns the pool. Does not know what computes.
 * K1 A sequence holds blocks from `grow` to `release`; each block has one holder.
 */

import { invariant } from '../base/errors.ts'
import type { BlockId } from '../base/ids.ts'
import { BlockPool } from './block-pool.ts'
import { numBlocksFor } from './block-table.ts'
import { DraftKv } from './draft-state.ts'
import type { BatchLimits } from './executor.ts'
import type { Sequence } from './sequence.ts'

export class DraftBlocks {
  readonly #limits: BatchLimits
  readonly #pool: BlockPool

  constructor(limits: BatchLimits) {
    this.#limits = limits
    this.#pool = new BlockPool(limits.numBlocks)
  }

  get numFree(): number {
    return this.#pool.numFree
  }

  /** Where the sequence's KV lies, from now on if it lay nowhere. */
  of(sequence: Sequence): DraftKv {
    const { draft } = sequence
    invariant(draft !== null, 'K1', 'a sequence gets draft KV that nobody guesses for')
    draft.kv ??= new DraftKv(
      Math.min(
        this.#limits.maxBlocksPerSeq,
        numBlocksFor(sequence.capacity, this.#limits.blockSize),
      ),
    )
    return draft.kv
  }

  /** Make room for `numTokens`. @returns false when the pool or the table has too little; nothing changes then */
  grow(kv: DraftKv, numTokens: number): boolean {
    const numBlocks = numBlocksFor(numTokens, this.#limits.blockSize)
    if (numBlocks > kv.blockTable.length || numBlocks - kv.numBlocks > this.#pool.numFree)
      return false
    for (let index = kv.numBlocks; index < numBlocks; index++) {
      kv.blockTable[index] = this.#pool.allocate()
      kv.numBlocks = index + 1
    }
    return true
  }

  release(kv: DraftKv): void {
    for (let index = kv.numBlocks - 1; index >= 0; index--)
      this.#pool.release(kv.blockTable[index]! as BlockId)
    kv.numBlocks = 0
    kv.numComputed = 0
  }

  /** Check that the running sequences hold all that is not free (K1). Cost: O(blocks + sequences). */
  checkIntegrity(running: readonly Sequence[]): void {
    this.#pool.checkIntegrity()
    let numHeld = 0
    for (const { draft } of running) numHeld += draft?.kv?.numBlocks ?? 0
    const isWhole = numHeld + this.#pool.numFree === this.#pool.numBlocks
    invariant(isWhole, 'K1', 'a block of the draft model is lost or held by nobody who runs')
  }
}
