/**
 * A place for full blocks that the pool gives up, slower than memory and larger. The engine states here what it needs;
 * `execution/` keeps files. Nothing of it may hold up a step: `save` takes the bytes and returns, `load` is a promise.
 */

declare const kvKey: unique symbol

/** Names a block by its tenant, its domain and all tokens up to its end; made by the tier alone. */
export type KvKey = { readonly [kvKey]: true }

export interface KvTier {
  /** What a tenant's first blocks follow. */
  root(tenant: string, cacheDomain: Int32Array): KvKey
  /** The block of tokens `[first, end)` behind `parent`. Cost: some microseconds. */
  child(parent: KvKey, tokenIds: Int32Array, first: number, end: number): KvKey
  /** Whether `load` would probably find it. */
  has(key: KvKey): boolean
  /** Keep a block unless it is kept already or cannot be: `read` is called then, at once. Never throws. */
  save(key: KvKey, read: (into: Uint8Array) => void): void
  /** Resolves when `save` would not drop a block for want of memory. */
  hasRoom(): Promise<void>
  /** Blocks from the first on, until one is missing or broken. Never rejects. The caller gives them back. */
  load(keys: readonly KvKey[]): Promise<readonly Uint8Array[]>
  giveBack(blocks: readonly Uint8Array[]): void
  /** Milliseconds that a loaded block takes, learned. */
  readonly loadBlockMs: number
  readonly stats: KvTierStats
}

/** Since it was opened; `bytes` are kept now. */
export interface KvTierStats {
  readonly numSavedBlocks: number
  /** Given up because too many waited to be written, the disk was full, or it failed. */
  readonly numDroppedBlocks: number
  readonly numLoadedBlocks: number
  /** Files that were torn, or not what their names say. */
  readonly numBadFiles: number
  readonly bytes: number
  /** Nothing is written for a while, because writing failed. */
  readonly isPaused: boolean
}
