/**
 * Which rows of a sequence's chunk need logits, as arithmetic on positions; the scheduler budgets with it and the
 * input batch fills from it. Reads the sequence, writes nothing.
 *
 * Of the chunk [first, end), first = numComputedTokens, end = first + numTokens:
 *   [max(first, nextPromptRow), min(end, numPromptTokens - 1))   one row each, when prompt logprobs are wanted:
 *                                                                 row p tells of the known token p + 1
 *   [numTokens - 1, end), numTokens being the sequence's          the row that the next token is drawn from, and one for
 *                                                                 each guess behind the known tokens
 */

import type { Sequence } from './sequence.ts'

/** First position of the chunk whose row reports a prompt logprob. */
export function firstPromptRow(sequence: Sequence): number {
  return Math.max(sequence.numComputedTokens, sequence.nextPromptRow)
}

/** Rows of a chunk of `numTokens` that report prompt logprobs. */
export function numPromptRows(sequence: Sequence, numTokens: number): number {
  const end = Math.min(sequence.numComputedTokens + numTokens, sequence.numPromptTokens - 1)
  return Math.max(0, end - firstPromptRow(sequence))
}

/**
 * Rows that draw: none while known tokens are left over, one for the last known token, and one for each guess that
 * follows it.
 */
export function numDrawRows(sequence: Sequence, numTokens: number): number {
  return Math.max(0, sequence.numComputedTokens + numTokens - sequence.numTokens + 1)
}

/** Logits rows that a chunk of `numTokens` needs. */
export function numLogitsRows(sequence: Sequence, numTokens: number): number {
  return numPromptRows(sequence, numTokens) + numDrawRows(sequence, numTokens)
}

/**
 * Known tokens whose rows need not be computed when their KV is found elsewhere: all but the row that draws next, and
 * none from the first row on that still has to report a prompt logprob.
 */
export function numReusableTokens(sequence: Sequence): number {
  const reports = sequence.nextPromptRow < sequence.numPromptTokens - 1
  return Math.min(sequence.numTokens - 1, reports ? sequence.nextPromptRow : sequence.numTokens)
}

/** The longest chunk of at most `numTokens` that needs no more than `maxRows` logits rows; may be 0. */
export function fitLogitsRows(sequence: Sequence, numTokens: number, maxRows: number): number {
  if (numTokens === 0 || numLogitsRows(sequence, numTokens) <= maxRows) return numTokens
  const shorter = numDrawRows(sequence, numTokens) > 0 ? numTokens - 1 : numTokens
  if (numPromptRows(sequence, shorter) <= maxRows) return shorter
  return firstPromptRow(sequence) + maxRows - sequence.numComputedTokens
}
