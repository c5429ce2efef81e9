/**
 * Moves whole KV blocks at the moment that somebody decides it: within the pool, out of it and back. The executor is at
 * rest while the scheduler decides, so a block's content is what its holder computed, and nothing has to be remembered
 * for later. Owns what a moved block costs, learned from the moves themselves. Does not know why anything moves.
 */

import type { Clock } from '../base/clock.ts'
import type { KvBlocks } from './executor.ts'

/** Before the first move: what a slow machine copies. */
const FIRST_BYTES_PER_MS = 2e6
/** Of one measurement in what is learned. */
const NEW_SHARE = 0.2

export class KvMoves {
  readonly blockBytes: number
  readonly #blocks: KvBlocks
  readonly #clock: Clock
  readonly #pair = new Int32Array(2)
  /** Spent since the last `takeMs`, and a block's cost. In an array, because numbers would be boxed. */
  readonly #ms: Float64Array

  constructor(blocks: KvBlocks, clock: Clock) {
    this.#blocks = blocks
    this.#clock = clock
    this.blockBytes = blocks.blockBytes
    this.#ms = Float64Array.of(0, blocks.blockBytes / FIRST_BYTES_PER_MS)
  }

  /** Milliseconds that one block takes, either way. */
  get blockMs(): number {
    return this.#ms[1]!
  }

  /** Milliseconds spent since the last call; no step's computing took them. */
  takeMs(): number {
    const spentMs = this.#ms[0]!
    this.#ms[0] = 0
    return spentMs
  }

  copy(from: number, to: number): void {
    const startMs = this.#clock.nowMs()
    this.#pair[0] = from
    this.#pair[1] = to
    this.#blocks.copyBlocks(this.#pair)
    this.#ms[0]! += this.#clock.nowMs() - startMs
  }

  /** Copy the first blocks of a table out, as many as `into` has. */
  read(blockTable: Int32Array, into: readonly Uint8Array[]): void {
    const startMs = this.#clock.nowMs()
    for (let index = 0; index < into.length; index++)
      this.#blocks.readBlock(blockTable[index]!, into[index]!)
    this.#learn(startMs, into.length)
  }

  readOne(blockId: number, into: Uint8Array): void {
    const startMs = this.#clock.nowMs()
    this.#blocks.readBlock(blockId, into)
    this.#learn(startMs, 1)
  }

  /** Fill blocks `[first, end)` of a table; `from[0]` is that of block `offset`. */
  write(
    blockTable: Int32Array,
    first: number,
    end: number,
    from: readonly Uint8Array[],
    offset: number,
  ): void {
    const startMs = this.#clock.nowMs()
    for (let index = first; index < end; index++)
      this.#blocks.writeBlock(blockTable[index]!, from[index - offset]!)
    this.#learn(startMs, end - first)
  }

  #learn(startMs: number, numBlocks: number): void {
    if (numBlocks <= 0) return
    const ms = this.#clock.nowMs() - startMs
    this.#ms[0]! += ms
    this.#ms[1]! += NEW_SHARE * (ms / numBlocks - this.#ms[1]!)
  }
}
