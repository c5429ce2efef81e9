/**
 * What a computed step means for its sequences: tokens are appended, ends are noticed. Reads the batch's outputs,
 * writes the sequences; does not free blocks (the scheduler does) nor make updates (`report.ts` does). Allocates
 * nothing. An unusable row ends its own sequence only.
 */

import type { InputBatch } from './input-batch.ts'
import { numPromptRows, reachesDraw } from './logits-rows.ts'
import { type Sequence, SequenceStatus } from './sequence.ts'

/**
 * Commit a step that was computed.
 *
 * @param drewToken - `[maxNumSeqs]` out: 1 where a token was drawn and appended
 * @returns tokens drawn
 */
export function commitStep(batch: InputBatch, nowMs: number, drewToken: Uint8Array): number {
  let numDrawn = 0
  for (let row = 0; row < batch.numSeqs; row++) {
    const sequence = batch.sequences[row]!
    drewToken[row] = sequence.isFinished
      ? 0
      : commitSequence(sequence, batch, batch.firstLogitsRows[row]!, nowMs)
    numDrawn += drewToken[row]!
  }
  return numDrawn
}

function commitSequence(
  sequence: Sequence,
  batch: InputBatch,
  firstLogitsRow: number,
  nowMs: number,
): 0 | 1 {
  const numTokens = sequence.numScheduledTokens
  const drawRow = firstLogitsRow + numPromptRows(sequence, numTokens)
  const draws = reachesDraw(sequence, numTokens)
  const endRow = draws ? drawRow + 1 : drawRow
  sequence.numScheduledTokens = 0
  for (let row = firstLogitsRow; row < endRow; row++) {
    if (batch.arrays.sampledIds[row]! < 0) {
      sequence.status = SequenceStatus.finishedError
      return 0
    }
  }
  sequence.numComputedTokens += numTokens
  sequence.nextPromptRow = Math.max(
    sequence.nextPromptRow,
    Math.min(sequence.numComputedTokens, sequence.numPromptTokens - 1),
  )
  if (!draws) return 0
  const tokenId = batch.arrays.sampledIds[drawRow]!
  sequence.append(tokenId)
  if (sequence.firstTokenMs < 0) sequence.firstTokenMs = nowMs
  finishIfEnded(sequence, tokenId)
  return 1
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
