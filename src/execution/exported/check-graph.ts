/**
 * Runs a graph on a few tokens before it serves, because a graph that is fed wrongly answers wrongly without a word: its
 * logits with a past must be those without. Also learns how prompts may be cut, which no file says.
 *
 *   [0 … 6) at once          the reference
 *   [0 … 5) then [5]         what every answer does: a difference here means a wrong export
 *   [0 … 3) then [3 … 6)     may fail or differ: some graphs mask rightly only where there is no past
 */

import { ServingError } from '../../base/errors.ts'
import { executionError } from '../errors.ts'
import type { GraphSession } from './graph-session.ts'
import { type PromptCalls, SINGLE_CALLS } from './prompt-calls.ts'

const NUM_TOKENS = 6
/** Dynamically quantized graphs scale over all rows of a run, so their logits may differ by some hundredths. */
const MOST_DIFFERENCE = 0.3
/** Above it several rows after a past are not taken for the same mathematics. */
const CUT_DIFFERENCE = 0.02

/** Tokens of one run where a prompt is cut; long enough for matrix products to be at their speed. */
const SEGMENT_TOKENS = 64
/** Of one run where it cannot be cut. */
const TOGETHER_TOKENS = 1024
/** Logits of a run, of all its rows. */
const MOST_LOGITS_BYTES = 256 * 2 ** 20

/** Most tokens of any run that `PromptCalls` could ask of this graph. */
export function mostTokens(vocabSize: number): number {
  const rows = Math.floor(MOST_LOGITS_BYTES / (4 * vocabSize))
  return Math.max(NUM_TOKENS, Math.min(TOGETHER_TOKENS, rows))
}

/** @throws ServingError EXECUTION_GRAPH_REFUSED, EXECUTION_GRAPH_DISAGREES, EXECUTION_GRAPH_FIXED */
export async function checkGraph(session: GraphSession): Promise<PromptCalls> {
  try {
    return await learnCalls(session)
  } catch (cause) {
    if (!(cause instanceof ServingError) || cause.code !== 'EXECUTION_GRAPH_FAILED') throw cause
    // What fails on six tokens fails the next time too: the file is wrong for this machine, not the moment.
    const details = { file: session.decoder.graphFile, reason: cause.details.reason ?? null }
    throw executionError('EXECUTION_GRAPH_REFUSED', { cause, details })
  }
}

async function learnCalls(session: GraphSession): Promise<PromptCalls> {
  const { fixedTokens, graphFile, sizes } = session.decoder
  if (fixedTokens !== null && fixedTokens !== 1) {
    const details = { file: graphFile, got: fixedTokens }
    throw executionError('EXECUTION_GRAPH_FIXED', { details })
  }
  if (fixedTokens === 1) {
    await lastLogits(session, [1, 1])
    return SINGLE_CALLS
  }
  const whole = await lastLogits(session, [NUM_TOKENS])
  const decoded = await lastLogits(session, [NUM_TOKENS - 1, 1])
  const difference = relativeDifference(decoded, whole)
  if (!(difference <= MOST_DIFFERENCE)) {
    const details = { file: graphFile, most: MOST_DIFFERENCE, got: difference.toPrecision(3) }
    throw executionError('EXECUTION_GRAPH_DISAGREES', { details })
  }
  const most = mostTokens(sizes.vocabSize)
  return (await canBeCut(session, whole))
    ? { kind: 'segments', maxTokens: Math.min(SEGMENT_TOKENS, most) }
    : { kind: 'together', maxTokens: most }
}

/**
 * The first of the later rows is looked at by its logits, where it must not see the rows behind it; the last by what the
 * whole prompt gave.
 */
async function canBeCut(session: GraphSession, whole: Float32Array): Promise<boolean> {
  // A merged decoder's branch with a past is traced for one row; its mask may not hold for more.
  if (session.decoder.inputs.useCacheBranch !== null) return false
  const half = NUM_TOKENS / 2
  try {
    const cut = await lastLogits(session, [half, half])
    if (!(relativeDifference(cut, whole) <= CUT_DIFFERENCE)) return false
    if (session.decoder.hasLastLogitsOnly) return true
    const before = await lastLogits(session, [half + 1])
    const first = await firstLogits(session, half)
    return relativeDifference(first, before) <= CUT_DIFFERENCE
  } catch {
    // The graph itself refuses several rows after a past; it runs well without, as was seen.
    return false
  }
}

/** Logits of the last row, the tokens being cut into runs of these lengths. */
async function lastLogits(
  session: GraphSession,
  lengths: readonly number[],
): Promise<Float32Array> {
  const logits = new Float32Array(session.decoder.sizes.vocabSize)
  const kv = session.makeKv()
  for (const numTokens of lengths) {
    const start = kv.numTokens
    const tokenIds = checkTokens(session, start, numTokens)
    await session.run({ tokenIds, start, numLogits: 1, kv }, logits)
  }
  return logits
}

/** Logits of the row after the past, with as many rows behind it as there are before. */
async function firstLogits(session: GraphSession, half: number): Promise<Float32Array> {
  const { vocabSize } = session.decoder.sizes
  const logits = new Float32Array(half * vocabSize)
  const kv = session.makeKv()
  for (const start of [0, half]) {
    const tokenIds = checkTokens(session, start, half)
    await session.run({ tokenIds, start, numLogits: half, kv }, logits)
  }
  return logits.subarray(0, vocabSize)
}

/** Any tokens do, as long as they differ. */
function checkTokens(session: GraphSession, start: number, length: number): Int32Array {
  const { vocabSize } = session.decoder.sizes
  return Int32Array.from({ length }, (_, index) => (7 * (start + index) + 3) % vocabSize)
}

/** Root mean square of the difference, measured by that of `b` around its mean. NaN where either has no numbers. */
function relativeDifference(a: Float32Array, b: Float32Array): number {
  const mean = b.reduce((sum, value) => sum + value, 0) / b.length
  let difference = 0
  let spread = 0
  for (let index = 0; index < b.length; index++) {
    difference += (a[index]! - b[index]!) ** 2
    spread += (b[index]! - mean) ** 2
  }
  return Math.sqrt(difference / spread)
}
