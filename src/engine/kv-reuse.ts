/**
 * What of a sequence need not be computed when it comes in, and what is kept of it when it goes: the one place where
 * KV reaches a block table without a step.
 *
 *   table  [ found in the prefix cache: shared )[ parked outside, or the leader's tail: brought in )[ to compute …
 *
 * A sequence that comes in goes through `find` (what there is; changes nothing) and `attach`; whoever is put out
 * through `putOut`; whoever ends, from wherever, through `forget`. Owns the tails and swaps; reads the cache. Does not
 * know queues or budgets. Allocates only when something is parked.
 * K1 Only waiting sequences have parked KV or a tail: a running one's KV is in the pool.
 */

import { invariant } from '../base/errors.ts'
import type { BlockId } from '../base/ids.ts'
import type { BlockPool } from './block-pool.ts'
import { attachBlocks, growBlockTable, numBlocksFor } from './block-table.ts'
import type { KvMoves } from './kv-moves.ts'
import type { KvKey } from './kv-tier.ts'
import { numReusableTokens } from './logits-rows.ts'
import type { ParkedKv } from './parked-kv.ts'
import type { PrefixCache } from './prefix-cache.ts'
import type { Sequence } from './sequence.ts'
import { SharedTails } from './shared-tails.ts'
import type { StepCostModel } from './step-cost-model.ts'
import { Swaps } from './swaps.ts'

export interface KvReuseOptions {
  readonly prefixCache: PrefixCache | null
  /** Null where the executor cannot move blocks. */
  readonly moves: KvMoves | null
  /** Host memory for the KV of those that are put out; 0 = none. */
  readonly swapBytes: number
}

/** Counts since it was made. */
export interface KvReuseStats {
  /** Choices that began with a copy of the first one's last block. */
  readonly numCopiedTails: number
  /** Blocks of sequences that were put out and of those that came back, without computing them again. */
  readonly numSwappedOutBlocks: number
  readonly numSwappedInBlocks: number
  /** Prompt tokens whose KV came from the tier. */
  readonly numRestoredTokens: number
}

export class KvReuse {
  /** Of the last `find`: blocks of the prefix cache, and tokens that the sequence would begin with. */
  numHits = 0
  numTokens = 0
  #numCopiedTails = 0
  #numBlocksIn = 0
  #numRestoredTokens = 0
  readonly #prefixCache: PrefixCache | null
  readonly #moves: KvMoves | null
  readonly #tails: SharedTails
  readonly #swaps: Swaps | null
  readonly #pool: BlockPool
  readonly #blockSize: number
  /** What the last `find` would bring in behind the hits; null = the leader's tail. */
  #source: ParkedKv | null = null

  constructor(
    { prefixCache, moves, swapBytes }: KvReuseOptions,
    pool: BlockPool,
    model: StepCostModel,
    blockSize: number,
  ) {
    this.#prefixCache = prefixCache
    this.#moves = moves
    this.#pool = pool
    this.#blockSize = blockSize
    this.#tails = new SharedTails(pool, blockSize)
    const canSwap = moves !== null && swapBytes >= moves.blockBytes
    this.#swaps = canSwap ? new Swaps(moves, model, blockSize, swapBytes) : null
  }

  get stats(): KvReuseStats {
    return {
      numCopiedTails: this.#numCopiedTails,
      numSwappedOutBlocks: this.#swaps?.numBlocksOut ?? 0,
      numSwappedInBlocks: this.#numBlocksIn,
      numRestoredTokens: this.#numRestoredTokens,
    }
  }

  /** Block ids that were found, `numHits` of them. */
  get hits(): Int32Array | undefined {
    return this.#prefixCache?.matched
  }

  /** The name in the tier of the last block that was found. */
  get lastHitKey(): KvKey | null {
    return this.#prefixCache?.matchedKey(this.numHits) ?? null
  }

  /** What the sequence could begin with. Cost: O(tokens found + one block). */
  find(sequence: Sequence): void {
    this.numHits = this.#prefixCache?.match(sequence, numReusableTokens(sequence)) ?? 0
    this.numTokens = this.numHits * this.#blockSize
    const { parked } = sequence
    const isReachable = parked !== null && parked.firstBlock <= this.numHits
    this.#source = isReachable && parked.numTokens > this.numTokens ? parked : null
    const numTokens = this.#source?.numTokens ?? this.#tails.numTokens(sequence, this.numHits)
    this.numTokens = Math.max(this.numTokens, numTokens)
  }

  /** What the last `find` found is wanted soon: it is evicted last, its end before its beginning. */
  refreshHits(): void {
    for (let index = this.numHits - 1; index >= 0; index--) {
      const id = this.#prefixCache!.matched[index]! as BlockId
      this.#pool.addReference(id)
      this.#pool.release(id)
    }
  }

  /** Give the sequence what the last `find` found for it: its table is begun, and its KV is there. */
  attach(sequence: Sequence): void {
    const { numHits, numTokens } = this
    if (sequence.numCachedTokens < 0) sequence.numCachedTokens = numTokens
    // What was found is no work of this tenant's.
    sequence.numChargedTokens = Math.max(sequence.numChargedTokens, numTokens)
    if (this.#prefixCache !== null) {
      attachBlocks(sequence, this.#prefixCache.matched, numHits, this.#pool)
      this.#prefixCache.follow(sequence, numHits)
    }
    if (numTokens > numHits * this.#blockSize) this.#bringIn(sequence, numHits, numTokens)
    this.forget(sequence)
  }

  #bringIn(sequence: Sequence, numHits: number, numTokens: number): void {
    const numBlocks = numBlocksFor(numTokens, this.#blockSize)
    growBlockTable(sequence, numBlocks, this.#pool)
    const { blockTable, tailBlock } = sequence
    const moves = this.#moves
    const source = this.#source
    invariant(moves !== null, 'K1', 'KV is brought in that could not have been moved out')
    if (source === null) {
      moves.copy(tailBlock, blockTable[numHits]!)
      this.#numCopiedTails += 1
      return
    }
    moves.write(blockTable, numHits, numBlocks, source.blocks, source.firstBlock)
    if (source.origin === 'swap') this.#numBlocksIn += numBlocks - numHits
    else this.#numRestoredTokens += numTokens - numHits * this.#blockSize
  }

  /** The sequence is being put out; its blocks are still its own. */
  putOut(sequence: Sequence): void {
    sequence.restore = 'untried'
    this.#swaps?.putOut(sequence)
  }

  /** Its prompt was computed, and these were held for it. */
  share(leader: Sequence, followers: readonly Sequence[]): void {
    if (this.#moves !== null) this.#tails.share(leader, followers)
  }

  /** Hand a cached block to the tier. */
  keep(id: BlockId): void {
    this.#prefixCache?.keep(id)
  }

  /** Blocks have run out. @returns whether holding fewer has freed some */
  relent(): boolean {
    return this.#tails.releaseAll()
  }

  /** Let go of everything that is kept for the sequence. */
  forget(sequence: Sequence): void {
    this.#tails.release(sequence)
    sequence.parked?.release()
    sequence.parked = null
  }

  /** @param numParked - blocks in the swap space that waiting sequences say they have */
  checkIntegrity(numParked: number, numHolders: Int32Array): void {
    this.#tails.countInto(numHolders)
    this.#swaps?.checkIntegrity(numParked)
  }
}
