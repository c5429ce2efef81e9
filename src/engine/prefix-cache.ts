/**
 * Finds KV that was computed before: full blocks by what they hold and what stands before them.
 *
 *   root of a domain ──▶ block 0 ──▶ block 1 ──▶ …      an entry a full block: (parent, its token ids)
 *
 * An entry's parent is named by a serial number that is never used again, the first one's by the 128 bits of its
 * domain, and a hit compares parent and token ids, so that equal hashes cannot hand out another text's KV, whoever
 * chose the tokens. The hash only finds the bucket, keyed against callers who would crowd one.
 *
 * Owns the entries, one for each cached block at most. Does not know who holds a block (the pool does) nor when it is
 * right to look. Allocates nothing after construction. Invariants:
 * C1 An entry's tokens were computed by steps that succeeded, at positions that follow its parent's.
 * C2 A block has an entry exactly when the pool says that it is cached.
 * C3 No two entries are equal: the second sequence to compute a prefix keeps its block for itself.
 * Source of the idea: vLLM `v1/core/kv_cache_utils.py`, hash_block_tokens (it trusts the hash; here tokens are compared).
 */

import { invariant } from '../base/errors.ts'
import type { BlockId } from '../base/ids.ts'
import type { BlockPool } from './block-pool.ts'
import type { ColdBlocks } from './cold-blocks.ts'
import { HalfSipHash } from './half-sip-hash.ts'
import type { KvKey } from './kv-tier.ts'
import type { Sequence } from './sequence.ts'

const NONE = -1
const ROOT_SERIAL = 0
/** 128 bits. */
export const CACHE_DOMAIN_WORDS = 4

export interface PrefixCacheSizes {
  readonly numBlocks: number
  readonly blockSize: number
  readonly maxBlocksPerSeq: number
}

export class PrefixCache {
  /** Block ids of the last `match`; as many as it returned are valid. */
  readonly matched: Int32Array // [maxBlocksPerSeq]
  readonly #blockSize: number
  readonly #bucketMask: number
  readonly #buckets: Int32Array // [power of two ≥ 2 * numBlocks] first block of the bucket, or NONE
  readonly #nextInBucket: Int32Array // [numBlocks]
  readonly #bucketOf: Int32Array // [numBlocks] NONE = no entry
  readonly #serials: Float64Array // [numBlocks]
  readonly #parentSerials: Float64Array // [numBlocks]
  readonly #domains: Int32Array // [numBlocks * CACHE_DOMAIN_WORDS] of first blocks
  readonly #tokenIds: Int32Array // [numBlocks * blockSize]
  readonly #hash: HalfSipHash
  readonly #cold: ColdBlocks | null
  readonly #keys: (KvKey | null)[] // [numBlocks] names in the tier; all null without one
  #lastSerial = ROOT_SERIAL
  #numEntries = 0

  /**
   * @param key - two words nobody outside knows; fixed in tests
   * @param cold - where blocks go that are forgotten
   */
  constructor(
    sizes: PrefixCacheSizes,
    key: readonly [number, number],
    cold: ColdBlocks | null = null,
  ) {
    const { numBlocks, blockSize, maxBlocksPerSeq } = sizes
    let numBuckets = 1
    while (numBuckets < 2 * numBlocks) numBuckets *= 2
    this.matched = new Int32Array(maxBlocksPerSeq)
    this.#blockSize = blockSize
    this.#bucketMask = numBuckets - 1
    this.#buckets = new Int32Array(numBuckets).fill(NONE)
    this.#nextInBucket = new Int32Array(numBlocks).fill(NONE)
    this.#bucketOf = new Int32Array(numBlocks).fill(NONE)
    this.#serials = new Float64Array(numBlocks)
    this.#parentSerials = new Float64Array(numBlocks)
    this.#domains = new Int32Array(numBlocks * CACHE_DOMAIN_WORDS)
    this.#tokenIds = new Int32Array(numBlocks * blockSize)
    this.#hash = new HalfSipHash(key[0], key[1])
    this.#cold = cold
    this.#keys = new Array<KvKey | null>(numBlocks).fill(null)
  }

  get numEntries(): number {
    return this.#numEntries
  }

  /**
   * Look for the sequence's longest cached prefix of at most `maxTokens` tokens; its blocks are in `matched`.
   *
   * @returns blocks found. Cost: O(tokens found + one block)
   */
  match(sequence: Sequence, maxTokens: number): number {
    const numFull = Math.min(Math.floor(maxTokens / this.#blockSize), this.matched.length)
    let parent = ROOT_SERIAL
    for (let index = 0; index < numFull; index++) {
      const block = this.#find(sequence, index, parent, this.#bucketFor(sequence, index, parent))
      if (block === NONE) return index
      this.matched[index] = block
      parent = this.#serials[block]!
    }
    return numFull
  }

  /** The sequence starts from the first `numBlocks` blocks of `matched`: what it fills next follows the last of them. */
  follow(sequence: Sequence, numBlocks: number): void {
    sequence.numPublishedBlocks = numBlocks
    sequence.prefixSerial =
      numBlocks === 0 ? ROOT_SERIAL : this.#serials[this.matched[numBlocks - 1]!]!
    sequence.prefixKey = this.matchedKey(numBlocks)
  }

  /** The name in the tier of the last of the first `numBlocks` blocks of `matched`; null before the first. */
  matchedKey(numBlocks: number): KvKey | null {
    return numBlocks === 0 ? null : this.#keys[this.matched[numBlocks - 1]!]!
  }

  /** Enter the blocks that the sequence's computed tokens have filled since the last time. Only after a good step (C1). */
  publish(sequence: Sequence, pool: BlockPool): void {
    const numFull = Math.floor(sequence.numComputedTokens / this.#blockSize)
    for (let index = sequence.numPublishedBlocks; index < numFull; index++) {
      const parent = sequence.prefixSerial
      const bucket = this.#bucketFor(sequence, index, parent)
      let block = this.#find(sequence, index, parent, bucket)
      if (block === NONE) {
        block = sequence.blockTable[index]!
        this.#insert(sequence, index, block, bucket)
        pool.markCached(block as BlockId)
      }
      sequence.prefixSerial = this.#serials[block]!
      sequence.prefixKey = this.#keys[block]!
      sequence.numPublishedBlocks = index + 1
    }
  }

  /** Hand a copy of a cached block to the tier, where there is one. */
  keep(id: BlockId): void {
    const key = this.#keys[id]!
    if (key !== null) this.#cold?.keep(id, key)
  }

  /** The pool takes the block for something else. Whatever followed it can no longer be found, and ages away. */
  readonly forget = (id: BlockId): void => {
    const bucket = this.#bucketOf[id]!
    invariant(bucket !== NONE, 'C2', 'a block is evicted that has no entry')
    this.keep(id)
    this.#keys[id] = null
    if (this.#buckets[bucket] === id) this.#buckets[bucket] = this.#nextInBucket[id]!
    else {
      let before = this.#buckets[bucket]!
      while (this.#nextInBucket[before] !== id) before = this.#nextInBucket[before]!
      this.#nextInBucket[before] = this.#nextInBucket[id]!
    }
    this.#bucketOf[id] = NONE
    this.#numEntries -= 1
  }

  #bucketFor(sequence: Sequence, index: number, parent: number): number {
    const hash = this.#hash
    const { cacheDomain, tokenIds } = sequence
    hash.begin()
    hash.word(parent % 2 ** 32)
    hash.word(Math.floor(parent / 2 ** 32))
    if (index === 0)
      for (let word = 0; word < CACHE_DOMAIN_WORDS; word++) hash.word(cacheDomain[word]!)
    const end = (index + 1) * this.#blockSize
    for (let position = index * this.#blockSize; position < end; position++)
      hash.word(tokenIds[position]!)
    return hash.end() & this.#bucketMask
  }

  #find(sequence: Sequence, index: number, parent: number, bucket: number): number {
    let block = this.#buckets[bucket]!
    while (block !== NONE && !this.#isEqual(sequence, index, parent, block))
      block = this.#nextInBucket[block]!
    return block
  }

  #isEqual(sequence: Sequence, index: number, parent: number, block: number): boolean {
    if (this.#parentSerials[block] !== parent) return false
    for (let word = 0; parent === ROOT_SERIAL && word < CACHE_DOMAIN_WORDS; word++) {
      if (this.#domains[block * CACHE_DOMAIN_WORDS + word] !== sequence.cacheDomain[word])
        return false
    }
    const known = block * this.#blockSize
    const asked = index * this.#blockSize
    for (let offset = 0; offset < this.#blockSize; offset++) {
      if (this.#tokenIds[known + offset] !== sequence.tokenIds[asked + offset]) return false
    }
    return true
  }

  #insert(sequence: Sequence, index: number, block: number, bucket: number): void {
    invariant(this.#bucketOf[block] === NONE, 'C2', 'a block gets a second entry')
    this.#lastSerial += 1
    this.#serials[block] = this.#lastSerial
    this.#parentSerials[block] = sequence.prefixSerial
    for (let word = 0; word < CACHE_DOMAIN_WORDS; word++)
      this.#domains[block * CACHE_DOMAIN_WORDS + word] = sequence.cacheDomain[word]!
    for (let offset = 0; offset < this.#blockSize; offset++)
      this.#tokenIds[block * this.#blockSize + offset] =
        sequence.tokenIds[index * this.#blockSize + offset]!
    this.#keys[block] = this.#cold?.keyOf(sequence, index, sequence.prefixKey) ?? null
    this.#bucketOf[block] = bucket
    this.#nextInBucket[block] = this.#buckets[bucket]!
    this.#buckets[bucket] = block
    this.#numEntries += 1
  }

  /** Compare the entries with the pool (C2). Cost: O(numBlocks); for tests and idle moments. */
  checkIntegrity(pool: BlockPool): void {
    let numEntries = 0
    for (let bucket = 0; bucket < this.#buckets.length; bucket++) {
      for (let block = this.#buckets[bucket]!; block !== NONE; block = this.#nextInBucket[block]!) {
        invariant(
          this.#bucketOf[block] === bucket,
          'C2',
          'an entry is in another bucket than it says',
        )
        invariant(pool.isCached(block as BlockId), 'C2', 'an entry has a block that is not cached')
        numEntries += 1
      }
    }
    let numCached = 0
    for (let id = 0; id < pool.numBlocks; id++) numCached += pool.isCached(id as BlockId) ? 1 : 0
    const isWhole = numEntries === this.#numEntries && numEntries === numCached
    invariant(isWhole, 'C2', 'a cached block has no entry')
  }
}
