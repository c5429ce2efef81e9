/**
 * What a computed step means for its sequences: tokens are appended, ends are noticed. Reads the batch's outputs,
 * writes the sequences; does not free blocks (the scheduler does) nor make updates (`report.ts` does). Allocates
 * nothing. An unusable row ends its own sequence only.
 */

import type { InputBatch } from './input-batch.ts'
import { numDrawRows, numPromptRows } from './logits-rows.ts'
import { type Sequence, SequenceStatus } from './sequence.ts'

/**
 * Commit a step that was computed.
 *
 * @param numDrawn - `[maxNumSeqs]` out: tokens that were drawn and appended
 * @returns tokens drawn
 */
export function commitStep(batch: InputBatch, nowMs: number, numDrawn: Uint8Array): number {
  let total = 0
  for (let row = 0; row < batch.numSeqs; row++) {
    const sequence = batch.sequences[row]!
    numDrawn[row] = sequence.isFinished
      ? 0
      : commitSequence(sequence, batch, batch.firstLogitsRows[row]!, nowMs)
    total += numDrawn[row]!
  }
  return total
}

function commitSequence(
  sequence: Sequence,
  batch: InputBatch,
  firstRow: number,
  nowMs: number,
): number {
  const numTokens = sequence.numScheduledTokens
  const drawRow = firstRow + numPromptRows(sequence, numTokens)
  const numDraws = numDrawRows(sequence, numTokens)
  sequence.numScheduledTokens = 0
  for (let row = firstRow; row < drawRow; row++) {
    if (batch.arrays.sampledIds[row]! < 0) return fail(sequence)
  }
  // Guesses are computed only as far as they are right.
  sequence.numComputedTokens += numDraws === 0 ? numTokens : numTokens - (numDraws - 1)
  sequence.nextPromptRow = Math.max(
    sequence.nextPromptRow,
    Math.min(sequence.numComputedTokens, sequence.numPromptTokens - 1),
  )
  if (numDraws === 0) return 0
  return commitDraws(sequence, batch.arrays.sampledIds, drawRow, numDraws, nowMs)
}

/** Take what was drawn: the first draw, and each further one while the one before it drew what had been guessed. */
function commitDraws(
  sequence: Sequence,
  sampledIds: Int32Array,
  drawRow: number,
  numDraws: number,
  nowMs: number,
): number {
  for (let draw = 0; draw < numDraws; draw++) {
    const tokenId = sampledIds[drawRow + draw]!
    // A row that follows a right guess is computed again in the next step, and fails then if it must.
    if (tokenId < 0) return draw === 0 ? fail(sequence) : draw
    // Beyond the last guess stands whatever was left there; the loop ends before it counts.
    const isGuessed = sequence.tokenIds[sequence.numTokens] === tokenId
    sequence.append(tokenId)
    if (draw > 0) sequence.numComputedTokens += 1
    if (sequence.firstTokenMs < 0) sequence.firstTokenMs = nowMs
    finishIfEnded(sequence, tokenId)
    if (sequence.isFinished || !isGuessed) return draw + 1
  }
  return numDraws
}

function fail(sequence: Sequence): 0 {
  sequence.status = SequenceStatus.finishedError
  return 0
}

/** Stop tokens count only once `minTokens` tokens stand before them, as the sampler's mask does. */
function finishIfEnded(sequence: Sequence, tokenId: number): void {
  if (
    sequence.numOutputTokens > sequence.params.minTokens &&
    sequence.stopTokenIds.includes(tokenId)
  ) {
    sequence.status = SequenceStatus.finishedStop
    sequence.stopTokenId = tokenId
  } else if (sequence.numTokens === sequence.capacity) {
    sequence.status = SequenceStatus.finishedLength
  }
}
