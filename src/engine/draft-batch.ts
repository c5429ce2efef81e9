/**
 * The rows of one step of a draft model: fills its executor's arrays, one logits row for each sequence that is to guess.
 *
 *   rows   [ sequence 0: tokens whose KV it lacks, the last of which guesses )[ sequence 1 … ) …
 *
 * Owns the counts of the rows. Does not know why a sequence is in the step. Allocates nothing.
 */

import type { DraftKv } from './draft-state.ts'
import type { BatchArrays, BatchLimits } from './executor.ts'
import type { Sequence } from './sequence.ts'

export class DraftBatch {
  readonly #arrays: BatchArrays
  readonly #limits: BatchLimits
  numTokens = 0
  numSeqs = 0
  numLogitsRows = 0
  /** Keys that the rows attend to. */
  numKeys = 0

  constructor(limits: BatchLimits, arrays: BatchArrays) {
    this.#limits = limits
    this.#arrays = arrays
  }

  get numFreeRows(): number {
    return this.#limits.maxNumBatchedTokens - this.numTokens
  }

  clear(): void {
    this.numTokens = 0
    this.numSeqs = 0
    this.numLogitsRows = 0
    this.numKeys = 0
  }

  /** Rows for the next `numTokens` tokens of the sequence; the table holds room for them. */
  add(sequence: Sequence, kv: DraftKv, numTokens: number, guesses: boolean): void {
    const { tokenIds, positions, slotMapping, queryStarts, contextLengths } = this.#arrays
    const { blockSize, maxBlocksPerSeq } = this.#limits
    const end = kv.numComputed + numTokens
    const seq = this.numSeqs
    queryStarts[seq] = this.numTokens
    contextLengths[seq] = end
    this.#arrays.sequenceSlots[seq] = sequence.samplerSlot
    for (let index = 0; index < kv.numBlocks; index++)
      this.#arrays.blockTables[seq * maxBlocksPerSeq + index] = kv.blockTable[index]!
    let row = this.numTokens
    for (let position = kv.numComputed; position < end; position++) {
      const index = Math.floor(position / blockSize)
      tokenIds[row] = sequence.tokenIds[position]!
      positions[row] = position
      slotMapping[row] = kv.blockTable[index]! * blockSize + (position - index * blockSize)
      this.numKeys += position + 1
      row += 1
    }
    this.numTokens = row
    this.numSeqs = seq + 1
    queryStarts[seq + 1] = row
    if (guesses) this.#addLogitsRow(row - 1, sequence.samplerSlot, end)
  }

  #addLogitsRow(row: number, slot: number, position: number): void {
    const { logitsRows, samplerSlots, samplePositions, targetIds, topLogprobCounts } = this.#arrays
    const index = this.numLogitsRows
    logitsRows[index] = row
    samplerSlots[index] = slot
    samplePositions[index] = position
    targetIds[index] = -1
    topLogprobCounts[index] = -1
    this.numLogitsRows = index + 1
  }
}
