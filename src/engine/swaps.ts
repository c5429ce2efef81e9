/**
 * What becomes of the KV of a sequence that is put out: copied to the swap space when bringing it back is predicted to
 * be cheaper than computing it again, given up otherwise, or when no space is left.
 *
 *   out + in   2 · blocks · what a moved block costs        learned from the moves
 *   again      tokens and keys, at what a step's cost       learned from the steps
 *
 * The comparison takes it that nothing would be found in the prefix cache: blocks have just run out. Owns the space.
 */

import { numBlocksFor } from './block-table.ts'
import type { KvMoves } from './kv-moves.ts'
import type { ParkedKv } from './parked-kv.ts'
import { recomputeMs } from './recompute-ms.ts'
import type { Sequence } from './sequence.ts'
import type { StepCostModel } from './step-cost-model.ts'
import { SwapSpace } from './swap-space.ts'

export class Swaps {
  readonly #moves: KvMoves
  readonly #model: StepCostModel
  readonly #blockSize: number
  readonly #space: SwapSpace
  numBlocksOut = 0

  constructor(moves: KvMoves, model: StepCostModel, blockSize: number, limitBytes: number) {
    this.#moves = moves
    this.#model = model
    this.#blockSize = blockSize
    this.#space = new SwapSpace(limitBytes, moves.blockBytes)
  }

  /** Copy the sequence's KV out, or do not. Its blocks are still its own. */
  putOut(sequence: Sequence): void {
    const numTokens = sequence.numComputedTokens
    const numBlocks = numBlocksFor(numTokens, this.#blockSize)
    const swapMs = 2 * numBlocks * this.#moves.blockMs
    if (numTokens === 0 || swapMs >= recomputeMs(this.#model, 0, numTokens)) return
    const slots = this.#space.take(numBlocks)
    if (slots === null) return
    this.#moves.read(sequence.blockTable, slots)
    this.numBlocksOut += numBlocks
    sequence.parked = this.#park(numTokens, slots)
  }

  #park(numTokens: number, blocks: readonly Uint8Array[]): ParkedKv {
    const release = () => this.#space.release(blocks)
    return { firstBlock: 0, numTokens, blocks, origin: 'swap', release }
  }

  checkIntegrity(numHeld: number): void {
    this.#space.checkIntegrity(numHeld)
  }
}
