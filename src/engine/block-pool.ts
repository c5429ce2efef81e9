/**
 * Which KV blocks are free, and who holds the others: parallel arrays, no block objects.
 *
 *   blank   a stack of free blocks whose KV nobody will ask for again; taken first, the one freed last on top, so the
 *           memory that is touched stays near what is needed
 *   cached  a ring of free blocks that the prefix cache still knows, oldest first; taken when no blank one is left:
 *
 *             sentinel ⇄ head … tail ⇄ sentinel      `prev` and `next` are threaded through the ids themselves, so
 *                                                    that a block that is hit leaves from anywhere in constant time
 *
 * A fresh pool hands out 0, 1, 2, …. A sequence releases its last block first, so that of one chain the end is evicted
 * before its beginning. Does not know sequences, tokens or memory. Invariants:
 * B1 A block is on the stack or in the ring exactly when its reference count is 0: in the ring when it is cached.
 * B2 `numFree` is the length of both together.
 * Source: vLLM `v1/core/kv_cache_utils.py`, FreeKVCacheBlockQueue.
 */

import { invariant } from '../base/errors.ts'
import type { BlockId } from '../base/ids.ts'

/** Link of a block that is not in the ring. */
const UNLINKED = -1

export class BlockPool {
  readonly numBlocks: number
  readonly #prev: Int32Array // [numBlocks + 1], the last being the sentinel
  readonly #next: Int32Array // [numBlocks + 1]
  readonly #refCount: Int32Array // [numBlocks]
  readonly #isCached: Uint8Array // [numBlocks]
  readonly #blank: Int32Array // [numBlocks], the first `#numBlank` are free
  readonly #onEvict: (id: BlockId) => void
  #numBlank: number
  #numCachedFree = 0

  /** @param onEvict - told when a cached block is taken for something else */
  constructor(numBlocks: number, onEvict: (id: BlockId) => void = () => {}) {
    this.numBlocks = numBlocks
    this.#prev = new Int32Array(numBlocks + 1).fill(UNLINKED)
    this.#next = new Int32Array(numBlocks + 1).fill(UNLINKED)
    this.#prev[numBlocks] = numBlocks
    this.#next[numBlocks] = numBlocks
    this.#refCount = new Int32Array(numBlocks)
    this.#isCached = new Uint8Array(numBlocks)
    this.#blank = new Int32Array(numBlocks)
    for (let index = 0; index < numBlocks; index++) this.#blank[index] = numBlocks - 1 - index
    this.#onEvict = onEvict
    this.#numBlank = numBlocks
  }

  get numFree(): number {
    return this.#numBlank + this.#numCachedFree
  }

  /** Free blocks whose content the prefix cache knows. */
  get numCachedFree(): number {
    return this.#numCachedFree
  }

  refCount(id: BlockId): number {
    return this.#refCount[id]!
  }

  isCached(id: BlockId): boolean {
    return this.#isCached[id] === 1
  }

  /** Take a blank block, or evict the cached one unused longest. The caller has looked at `numFree`. Cost: O(1). */
  allocate(): BlockId {
    invariant(this.numFree > 0, 'B2', 'a block is taken from an empty pool')
    let id: number
    if (this.#numBlank > 0) {
      this.#numBlank -= 1
      id = this.#blank[this.#numBlank]!
    } else {
      id = this.#next[this.numBlocks]!
      this.#unlink(id)
      this.#isCached[id] = 0
      this.#onEvict(id as BlockId)
    }
    this.#refCount[id] = 1
    return id as BlockId
  }

  /** The prefix cache knows this block, which is in use, from now on. Cost: O(1). */
  markCached(id: BlockId): void {
    invariant(this.#refCount[id]! > 0, 'B1', 'a free block is published')
    this.#isCached[id] = 1
  }

  /** Count one more holder: of a block in use, or of a cached one that is hit. Cost: O(1). */
  addReference(id: BlockId): void {
    if (this.#refCount[id] === 0) {
      invariant(
        this.#isCached[id] === 1,
        'B1',
        'a blank block gets a holder that did not allocate it',
      )
      this.#unlink(id)
    }
    this.#refCount[id]! += 1
  }

  /** Give one reference back; with the last one the block is free again. Cost: O(1). */
  release(id: BlockId): void {
    invariant(id >= 0 && id < this.numBlocks, 'B1', 'a block that does not exist is released')
    invariant(this.#refCount[id]! > 0, 'B1', 'a free block is released')
    this.#refCount[id]! -= 1
    if (this.#refCount[id]! > 0) return
    if (this.#isCached[id] === 1) this.#append(id)
    else {
      this.#blank[this.#numBlank] = id
      this.#numBlank += 1
    }
  }

  /** Free cached blocks, the one that would be evicted last first. Nothing may be taken or released meanwhile. */
  *youngestCached(): Generator<BlockId> {
    for (let id = this.#prev[this.numBlocks]!; id !== this.numBlocks; id = this.#prev[id]!)
      yield id as BlockId
  }

  /** Join the ring's tail: of all cached blocks this one is evicted last. */
  #append(id: number): void {
    const tail = this.#prev[this.numBlocks]!
    this.#next[tail] = id
    this.#prev[id] = tail
    this.#next[id] = this.numBlocks
    this.#prev[this.numBlocks] = id
    this.#numCachedFree += 1
  }

  #unlink(id: number): void {
    const before = this.#prev[id]!
    const after = this.#next[id]!
    this.#next[before] = after
    this.#prev[after] = before
    this.#next[id] = UNLINKED
    this.#prev[id] = UNLINKED
    this.#numCachedFree -= 1
  }

  /** Walk ring and stack and compare them with the counts. Cost: O(numBlocks); for tests and idle moments. */
  checkIntegrity(): void {
    let numLinked = 0
    let previous = this.numBlocks
    for (let id = this.#next[previous]!; id !== this.numBlocks; id = this.#next[id]!) {
      invariant(id >= 0 && numLinked < this.numBlocks, 'B1', 'the ring of cached blocks is torn')
      invariant(
        this.#prev[id] === previous,
        'B1',
        'the ring of cached blocks disagrees with itself',
      )
      const isFree = this.#refCount[id] === 0 && this.#isCached[id] === 1
      invariant(isFree, 'B1', 'a block in use, or one that is not cached, is in the ring')
      numLinked += 1
      previous = id
    }
    invariant(this.#prev[this.numBlocks] === previous, 'B1', 'the ring does not close')
    invariant(numLinked === this.#numCachedFree, 'B2', 'the ring is longer or shorter than counted')
    const isBlank = new Uint8Array(this.numBlocks)
    for (let index = 0; index < this.#numBlank; index++) {
      const id = this.#blank[index]!
      const isFree = this.#refCount[id] === 0 && this.#isCached[id] === 0
      invariant(
        isFree && isBlank[id] === 0,
        'B1',
        'a blank block is in use, cached or listed twice',
      )
      isBlank[id] = 1
    }
    let numFree = 0
    for (let id = 0; id < this.numBlocks; id++) numFree += this.#refCount[id] === 0 ? 1 : 0
    invariant(numFree === this.numFree, 'B1', 'a free block is lost')
  }
}
