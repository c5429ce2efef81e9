/**
 * Full blocks on their way to the tier: names them as the prefix cache learns of them, and hands over those that it has
 * to forget. Owns nothing but the connection; does not know files.
 */

import type { KvMoves } from './kv-moves.ts'
import type { KvKey, KvTier } from './kv-tier.ts'
import type { Sequence } from './sequence.ts'

export class ColdBlocks {
  readonly tier: KvTier
  readonly #moves: KvMoves
  readonly #blockSize: number

  constructor(tier: KvTier, moves: KvMoves, blockSize: number) {
    this.tier = tier
    this.#moves = moves
    this.#blockSize = blockSize
  }

  /** The name of the sequence's block `index` behind `parent`; null = it is the first one. */
  keyOf(sequence: Sequence, index: number, parent: KvKey | null): KvKey {
    const { tokenIds, tenantName, cacheDomain } = sequence
    const before = parent ?? this.tier.root(tenantName, cacheDomain)
    return this.tier.child(before, tokenIds, index * this.#blockSize, (index + 1) * this.#blockSize)
  }

  /** The pool is about to hand the block out again. */
  keep(blockId: number, key: KvKey): void {
    this.tier.save(key, (into) => this.#moves.readOne(blockId, into))
  }

  /** Names of blocks `[first, …)` of the sequence's tokens that the tier has, at most up to token `maxTokens`. */
  find(sequence: Sequence, first: number, parent: KvKey | null, maxTokens: number): KvKey[] {
    const keys: KvKey[] = []
    const end = Math.floor(maxTokens / this.#blockSize)
    let before = parent
    for (let index = first; index < end; index++) {
      const key = this.keyOf(sequence, index, before)
      if (!this.tier.has(key)) break
      keys.push(key)
      before = key
    }
    return keys
  }
}
