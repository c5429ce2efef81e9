/**
 * The step's rows: fills the executor's arrays from the scheduler's decision, and keeps sampler slots.
 *
 *   tokens   [ seq 0 … )[ seq 1 … ) …            `queryStarts[b] … queryStarts[b + 1]`
 *   logits   rows of seq 0, then of seq 1 …      `firstLogitsRows[b] … firstLogitsRows[b + 1]`, ascending
 *
 * Owns which sequence lies in which row, and the free sampler slots. Does not know why a sequence was chosen.
 * Invariants:
 * I1 A sequence keeps its sampler slot from `takeSlot` to `freeSlot`; no two share one.
 * I2 Row b of `blockTables` equals the first `numCopied[b]` ids of the table of `owners[b]`, so a decode step
 *    copies only what was appended.
 */

import { invariant } from '../base/errors.ts'
import type { BatchArrays, BatchLimits } from './executor.ts'
import { firstPromptRow, numDrawRows, numPromptRows } from './logits-rows.ts'
import type { Sequence } from './sequence.ts'
import { numKeys } from './step-budget.ts'

export class InputBatch {
  readonly arrays: BatchArrays
  /** The first `numSeqs` are those of the step. */
  readonly sequences: (Sequence | null)[] // [maxNumSeqs]
  readonly firstLogitsRows: Int32Array // [maxNumSeqs + 1]
  numTokens = 0
  numSeqs = 0
  numLogitsRows = 0
  /** Keys that the step's rows attend to, over all of them. */
  numKeys = 0
  readonly #limits: BatchLimits
  readonly #freeSlots: Int32Array // [maxNumSeqs] a stack
  #numFreeSlots: number
  readonly #owners: Int32Array // [maxNumSeqs] arrivalIndex of the sequence whose table row b holds; -1 = none
  readonly #tableVersions: Int32Array // [maxNumSeqs] its tableVersion then
  readonly #numCopied: Int32Array // [maxNumSeqs]

  constructor(limits: BatchLimits, arrays: BatchArrays) {
    const { maxNumSeqs } = limits
    this.#limits = limits
    this.arrays = arrays
    this.sequences = new Array<Sequence | null>(maxNumSeqs).fill(null)
    this.firstLogitsRows = new Int32Array(maxNumSeqs + 1)
    this.#freeSlots = new Int32Array(maxNumSeqs)
    for (let index = 0; index < maxNumSeqs; index++) this.#freeSlots[index] = maxNumSeqs - 1 - index
    this.#numFreeSlots = maxNumSeqs
    this.#owners = new Int32Array(maxNumSeqs).fill(-1)
    this.#tableVersions = new Int32Array(maxNumSeqs)
    this.#numCopied = new Int32Array(maxNumSeqs)
  }

  /** Give a sequence that starts, or comes back, the sampler slot freed last (0, 1, 2, … at first). */
  takeSlot(sequence: Sequence): void {
    invariant(
      sequence.samplerSlot < 0 && this.#numFreeSlots > 0,
      'I1',
      'no sampler slot is left to take',
    )
    this.#numFreeSlots -= 1
    sequence.samplerSlot = this.#freeSlots[this.#numFreeSlots]!
  }

  freeSlot(sequence: Sequence): void {
    invariant(sequence.samplerSlot >= 0, 'I1', 'a sequence without a sampler slot gives one back')
    this.#freeSlots[this.#numFreeSlots] = sequence.samplerSlot
    this.#numFreeSlots += 1
    sequence.samplerSlot = -1
  }

  /** Position of the first of the logits rows `[firstRow, endRow)` that could not be used. */
  unusablePosition(firstRow: number, endRow: number): number {
    let row = firstRow
    while (row < endRow - 1 && this.arrays.sampledIds[row]! >= 0) row += 1
    return this.arrays.samplePositions[row]!
  }

  /** Check that exactly the running sequences hold slots (I1). Cost: O(sequences). */
  checkIntegrity(running: readonly Sequence[]): void {
    const slots = new Set<number>()
    for (const sequence of running) slots.add(sequence.samplerSlot)
    for (let index = 0; index < this.#numFreeSlots; index++) slots.add(this.#freeSlots[index]!)
    const isWhole = slots.size === this.#limits.maxNumSeqs && !slots.has(-1)
    invariant(
      isWhole && running.length + this.#numFreeSlots === this.#limits.maxNumSeqs,
      'I1',
      'a sampler slot is lost, shared or missing',
    )
  }

  /**
   * Lay out all sequences that have a share of the step. Reads the sequences, writes `arrays` and the counts.
   *
   * Cost: O(tokens + new blocks + sequences); allocates nothing.
   */
  fill(running: readonly Sequence[]): void {
    this.numTokens = 0
    this.numLogitsRows = 0
    this.numKeys = 0
    let numSeqs = 0
    for (let index = 0; index < running.length; index++) {
      const sequence = running[index]!
      if (sequence.numScheduledTokens === 0) continue
      this.sequences[numSeqs] = sequence
      this.arrays.queryStarts[numSeqs] = this.numTokens
      this.arrays.contextLengths[numSeqs] = sequence.numComputedTokens + sequence.numScheduledTokens
      this.arrays.sequenceSlots[numSeqs] = sequence.samplerSlot
      this.firstLogitsRows[numSeqs] = this.numLogitsRows
      this.numKeys += numKeys(sequence, sequence.numScheduledTokens)
      this.#fillBlockTable(sequence, numSeqs)
      this.#fillLogitsRows(sequence)
      this.#fillTokens(sequence)
      numSeqs += 1
    }
    this.arrays.queryStarts[numSeqs] = this.numTokens
    this.firstLogitsRows[numSeqs] = this.numLogitsRows
    // Rows beyond the step must not keep finished sequences alive.
    for (let row = numSeqs; row < this.numSeqs; row++) this.sequences[row] = null
    this.numSeqs = numSeqs
  }

  #fillTokens(sequence: Sequence): void {
    const { tokenIds, positions, slotMapping, adapterRows } = this.arrays
    const { blockSize } = this.#limits
    const first = sequence.numComputedTokens
    const end = first + sequence.numScheduledTokens
    let row = this.numTokens
    for (let position = first; position < end; position++) {
      const index = Math.floor(position / blockSize)
      tokenIds[row] = sequence.tokenIds[position]!
      positions[row] = position
      adapterRows[row] = sequence.adapter
      slotMapping[row] = sequence.blockTable[index]! * blockSize + (position - index * blockSize)
      row += 1
    }
    this.numTokens = row
  }

  #fillBlockTable(sequence: Sequence, row: number): void {
    const isSame =
      this.#owners[row] === sequence.arrivalIndex &&
      this.#tableVersions[row] === sequence.tableVersion
    const offset = row * this.#limits.maxBlocksPerSeq
    for (let index = isSame ? this.#numCopied[row]! : 0; index < sequence.numBlocks; index++) {
      this.arrays.blockTables[offset + index] = sequence.blockTable[index]!
    }
    this.#owners[row] = sequence.arrivalIndex
    this.#tableVersions[row] = sequence.tableVersion
    this.#numCopied[row] = sequence.numBlocks
  }

  /** Before `#fillTokens`: `numTokens` is still the sequence's first row. */
  #fillLogitsRows(sequence: Sequence): void {
    const numTokens = sequence.numScheduledTokens
    const toRow = this.numTokens - sequence.numComputedTokens
    const first = firstPromptRow(sequence)
    const end = first + numPromptRows(sequence, numTokens)
    for (let position = first; position < end; position++) {
      const target = sequence.promptIds[position + 1]!
      this.#addLogitsRow(
        toRow + position,
        -1,
        position + 1,
        target,
        sequence.params.promptLogprobs ?? -1,
      )
    }
    const numDraws = numDrawRows(sequence, numTokens)
    const topLogprobs = sequence.params.topLogprobs ?? -1
    for (let draw = 0; draw < numDraws; draw++) {
      const position = sequence.numTokens + draw
      this.#addLogitsRow(toRow + position - 1, sequence.samplerSlot, position, -1, topLogprobs)
    }
  }

  #addLogitsRow(
    row: number,
    slot: number,
    position: number,
    target: number,
    topLogprobs: number,
  ): void {
    const { arrays, numLogitsRows: index } = this
    arrays.logitsRows[index] = row
    arrays.samplerSlots[index] = slot
    arrays.samplePositions[index] = position
    arrays.targetIds[index] = target
    arrays.topLogprobCounts[index] = topLogprobs
    this.numLogitsRows = index + 1
  }
}
