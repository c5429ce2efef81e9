/** KV of a waiting sequence that lies outside of the pool, from a block of its table on. */
export interface ParkedKv {
  /** Index in the table of `blocks[0]`; those before it must be found in the prefix cache. */
  readonly firstBlock: number
  /** Tokens whose KV is there once all of it is back; the last block may be partly filled. */
  readonly numTokens: number
  readonly blocks: readonly Uint8Array[]
  readonly origin: 'swap' | 'tier'
  /** Give the memory back; once. */
  release(): void
}
