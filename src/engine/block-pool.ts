/**
 * Which KV blocks are free, and who holds the others: parallel arrays, no block objects.
 *
 * Free blocks form a ring through a sentinel, `prev` and `next` being threaded through the ids themselves, so that a
 * block leaves from anywhere in constant time (what a prefix cache needs) and nothing is allocated:
 *
 *   sentinel ⇄ head … tail ⇄ sentinel          allocate takes the head, release appends at the tail
 *
 * Order: a fresh pool hands out 0, 1, 2, …; afterwards the block that was released longest ago. A sequence releases
 * its last block first, so that of one chain the end is taken before its beginning.
 * Does not know sequences, tokens or memory. Invariants:
 * B1 A block is in the free ring exactly when its reference count is 0.
 * B2 `numFree` is the length of the ring.
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
  #numFree: number

  constructor(numBlocks: number) {
    this.numBlocks = numBlocks
    this.#prev = new Int32Array(numBlocks + 1)
    this.#next = new Int32Array(numBlocks + 1)
    this.#refCount = new Int32Array(numBlocks)
    this.#numFree = numBlocks
    for (let id = 0; id <= numBlocks; id++) {
      this.#prev[id] = id === 0 ? numBlocks : id - 1
      this.#next[id] = id === numBlocks ? 0 : id + 1
    }
  }

  get numFree(): number {
    return this.#numFree
  }

  refCount(id: BlockId): number {
    return this.#refCount[id]!
  }

  /** Take the head of the free ring with one reference. The caller has looked at `numFree`. Cost: O(1). */
  allocate(): BlockId {
    invariant(this.#numFree > 0, 'B2', 'a block is taken from an empty pool')
    const id = this.#next[this.numBlocks]!
    const after = this.#next[id]!
    this.#next[this.numBlocks] = after
    this.#prev[after] = this.numBlocks
    this.#next[id] = UNLINKED
    this.#prev[id] = UNLINKED
    this.#refCount[id] = 1
    this.#numFree -= 1
    return id as BlockId
  }

  /** Count one more holder of a block in use. Cost: O(1). */
  addReference(id: BlockId): void {
    invariant(this.#refCount[id]! > 0, 'B1', 'a free block gets a second holder')
    this.#refCount[id]! += 1
  }

  /** Give one reference back; the block joins the free ring's tail with the last one. Cost: O(1). */
  release(id: BlockId): void {
    invariant(id >= 0 && id < this.numBlocks, 'B1', 'a block that does not exist is released')
    invariant(this.#refCount[id]! > 0, 'B1', 'a free block is released')
    this.#refCount[id]! -= 1
    if (this.#refCount[id]! > 0) return
    const tail = this.#prev[this.numBlocks]!
    this.#next[tail] = id
    this.#prev[id] = tail
    this.#next[id] = this.numBlocks
    this.#prev[this.numBlocks] = id
    this.#numFree += 1
  }

  /** Walk the ring and compare it with the counts. Cost: O(numBlocks); for tests and idle moments. */
  checkIntegrity(): void {
    let numLinked = 0
    let previous = this.numBlocks
    for (let id = this.#next[previous]!; id !== this.numBlocks; id = this.#next[id]!) {
      invariant(id >= 0 && numLinked < this.numBlocks, 'B1', 'the free ring is torn')
      invariant(this.#prev[id] === previous, 'B1', 'the free ring disagrees with itself')
      invariant(this.#refCount[id] === 0, 'B1', 'a block in use is in the free ring')
      numLinked += 1
      previous = id
    }
    invariant(this.#prev[this.numBlocks] === previous, 'B1', 'the free ring does not close')
    invariant(numLinked === this.#numFree, 'B2', 'numFree is not the length of the free ring')
    let numFree = 0
    for (let id = 0; id < this.numBlocks; id++) numFree += this.#refCount[id] === 0 ? 1 : 0
    invariant(numFree === numLinked, 'B1', 'a free block is missing from the ring')
  }
}
