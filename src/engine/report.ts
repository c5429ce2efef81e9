/**
 * Makes the updates that leave the engine. The only place of a step that allocates, because what it makes is sent.
 * Reads sequences and the batch's outputs; changes nothing.
 */

import type { WireError } from '../base/errors.ts'
import type { BatchArrays } from './executor.ts'
import { type Sequence, SequenceStatus } from './sequence.ts'
import type { LogprobEntry, SequenceFinish, SequenceTiming, SequenceUpdate } from './updates.ts'

/** The logits rows of one sequence in a step: `[firstRow, drawRow)` told of the prompt, `numDrawn` from there on drew. */
export interface ReportedRows {
  readonly firstRow: number
  readonly drawRow: number
  readonly numDrawn: number
}

/** The update of a sequence that a step computed, or null when there is nothing to tell yet. */
export function stepUpdate(
  sequence: Sequence,
  rows: ReportedRows,
  arrays: BatchArrays,
  nowMs: number,
): SequenceUpdate | null {
  const hasPromptLogprobs = rows.drawRow > rows.firstRow
  const { numDrawn } = rows
  if (numDrawn === 0 && !hasPromptLogprobs && !sequence.isFinished) return null
  const isFirstToken = numDrawn > 0 && sequence.numOutputTokens === numDrawn
  const wantsLogprobs = sequence.params.topLogprobs !== null
  return {
    id: sequence.id,
    tokenIds: Array.from(
      sequence.tokenIds.subarray(sequence.numTokens - numDrawn, sequence.numTokens),
    ),
    logprobs: wantsLogprobs ? logprobEntries(arrays, rows.drawRow, numDrawn) : null,
    promptLogprobs: hasPromptLogprobs
      ? logprobEntries(arrays, rows.firstRow, rows.drawRow - rows.firstRow)
      : null,
    finish: finishOf(sequence),
    stopTokenId: sequence.stopTokenId < 0 ? null : sequence.stopTokenId,
    error: null,
    timing: isFirstToken || sequence.isFinished ? timingOf(sequence, nowMs) : null,
  }
}

/** The last update of a sequence that ends without a token: cancelled, or failed with `error`. */
export function endUpdate(
  sequence: Sequence,
  error: WireError | null,
  nowMs: number,
): SequenceUpdate {
  return {
    id: sequence.id,
    tokenIds: [],
    logprobs: null,
    promptLogprobs: null,
    finish: finishOf(sequence),
    stopTokenId: null,
    error,
    timing: timingOf(sequence, nowMs),
  }
}

function finishOf(sequence: Sequence): SequenceFinish | null {
  switch (sequence.status) {
    case SequenceStatus.finishedStop:
      return 'stop'
    case SequenceStatus.finishedLength:
      return 'length'
    case SequenceStatus.finishedCancelled:
      return 'cancelled'
    case SequenceStatus.finishedError:
      return 'error'
    default:
      return null
  }
}

function timingOf(sequence: Sequence, nowMs: number): SequenceTiming {
  const admittedMs = sequence.admittedMs < 0 ? nowMs : sequence.admittedMs
  const firstTokenMs = sequence.firstTokenMs < 0 ? nowMs : sequence.firstTokenMs
  return {
    queueMs: admittedMs - sequence.arrivalMs,
    prefillMs: firstTokenMs - admittedMs,
    totalMs: nowMs - sequence.arrivalMs,
    numPreemptions: sequence.numPreemptions,
    numCachedTokens: Math.max(0, sequence.numCachedTokens),
    numAcceptedDrafts: sequence.draft?.numAccepted ?? 0,
    numRejectedDrafts: sequence.draft?.numRejected ?? 0,
  }
}

function logprobEntries(arrays: BatchArrays, firstRow: number, numRows: number): LogprobEntry[] {
  const entries: LogprobEntry[] = []
  const stride = arrays.topIds.length / arrays.logitsRows.length
  for (let row = firstRow; row < firstRow + numRows; row++) {
    const first = row * stride
    const end = first + Math.max(0, arrays.topLogprobCounts[row]!)
    entries.push({
      tokenId: arrays.sampledIds[row]!,
      logprob: arrays.sampledLogprobs[row]!,
      rank: arrays.sampledRanks[row]!,
      topIds: Array.from(arrays.topIds.subarray(first, end)),
      topLogprobs: Array.from(arrays.topLogprobs.subarray(first, end)),
    })
  }
  return entries
}
