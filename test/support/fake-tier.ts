/** A tier without files, for the engine's tests: keeps blocks in a map under the text of everything before them. */

import type { KvKey, KvTier, KvTierStats } from '../../src/engine/kv-tier.ts'

export class FakeTier implements KvTier {
  loadBlockMs = 0
  readonly blocks = new Map<string, Uint8Array>()
  readonly #blockBytes: number
  #numSaved = 0
  #numLoaded = 0
  /** Blocks that were handed out and not given back. */
  readonly lent = new Set<Uint8Array>()
  /** Runs before blocks are handed out; what it deletes is not found. */
  duringLoad: () => void | Promise<void> = () => {}
  /** Whether a block is kept. */
  keeps: () => boolean = () => true

  constructor(blockBytes: number) {
    this.#blockBytes = blockBytes
  }

  root(tenant: string, cacheDomain: Int32Array): KvKey {
    return keyOf(`${tenant}/${cacheDomain.join('.')}`)
  }

  child(parent: KvKey, tokenIds: Int32Array, first: number, end: number): KvKey {
    return keyOf(`${textOf(parent)}|${tokenIds.slice(first, end).join()}`)
  }

  has(key: KvKey): boolean {
    return this.blocks.has(textOf(key))
  }

  save(key: KvKey, read: (into: Uint8Array) => void): void {
    if (this.has(key) || !this.keeps()) return
    const bytes = new Uint8Array(this.#blockBytes)
    read(bytes)
    this.blocks.set(textOf(key), bytes)
    this.#numSaved += 1
  }

  async hasRoom(): Promise<void> {}

  async load(keys: readonly KvKey[]): Promise<readonly Uint8Array[]> {
    await this.duringLoad()
    const found: Uint8Array[] = []
    for (const key of keys) {
      const bytes = this.blocks.get(textOf(key))
      if (bytes === undefined) break
      found.push(bytes.slice())
    }
    for (const bytes of found) this.lent.add(bytes)
    this.#numLoaded += found.length
    return found
  }

  giveBack(blocks: readonly Uint8Array[]): void {
    for (const bytes of blocks)
      if (!this.lent.delete(bytes)) throw new Error('a block is given back twice')
  }

  get stats(): KvTierStats {
    return {
      numSavedBlocks: this.#numSaved,
      numDroppedBlocks: 0,
      numLoadedBlocks: this.#numLoaded,
      numBadFiles: 0,
      bytes: this.blocks.size * this.#blockBytes,
      isPaused: false,
    }
  }
}

function keyOf(text: string): KvKey {
  return { text } as unknown as KvKey
}

function textOf(key: KvKey): string {
  return (key as unknown as { readonly text: string }).text
}
