/**
 * The text that quantisation is calibrated with, as windows of tokens, and the second moments of every layer's inputs on
 * it. Without a file the model writes the text itself: it begins from a few words and goes on by drawing, so that it
 * says what it knows; draws have fixed seeds, so the text is always the same one.
 */

import { createHash } from 'node:crypto'
import type { SequenceId } from '../../base/ids.ts'
import type { NativeExecutor } from '../../execution/native-executor.ts'
import { DEFAULT_SAMPLING_PARAMS } from '../../sampling/sampling-params.ts'
import type { LoadedEngine } from '../../worker/load-engine.ts'
import { runRows, stepRows } from '../quality/window-run.ts'

export interface Calibration {
  readonly kind: 'file' | 'written by the model'
  readonly windows: readonly Int32Array[]
  readonly numTokens: number
  /** sha256 of all token ids, little-endian. */
  readonly digest: string
}

/** Nobody else uses this engine. */
const ALONE = {
  cacheDomain: Int32Array.of(0, 0, 0, 0),
  tier: 'default',
  tenant: 'calibration',
  maxQueueMs: null,
} as const

export const NUM_WRITTEN = 16
export const WINDOW_TOKENS = 256

export function calibrationOf(
  kind: Calibration['kind'],
  tokens: readonly Int32Array[],
): Calibration {
  const windows = tokens.flatMap((all) => {
    const cut: Int32Array[] = []
    for (let at = 0; at < all.length; at += WINDOW_TOKENS) {
      cut.push(all.subarray(at, at + WINDOW_TOKENS))
    }
    return cut
  })
  const hash = createHash('sha256')
  for (const window of windows) hash.update(Buffer.from(Int32Array.from(window).buffer))
  const numTokens = windows.reduce((sum, { length }) => sum + length, 0)
  return { kind, windows, numTokens, digest: hash.digest('hex') }
}

/** @param starts - a few tokens each; the model goes on from each of them */
export async function writtenByModel(
  { core }: LoadedEngine,
  starts: readonly Int32Array[],
  signal: AbortSignal,
  onProgress: (fraction: number) => void,
): Promise<Calibration> {
  const texts = new Map<SequenceId, number[]>()
  for (const [index, promptIds] of starts.entries()) {
    const id = index as SequenceId
    const maxTokens = WINDOW_TOKENS - promptIds.length
    const params = {
      ...DEFAULT_SAMPLING_PARAMS,
      temperature: 1,
      seed: BigInt(index),
      ignoreEos: true,
      maxTokens,
    }
    core.add({ id, promptIds, params, choice: 0, ...ALONE })
    texts.set(id, [...promptIds])
  }
  let numDrawn = 0
  while (core.hasWork) {
    signal.throwIfAborted()
    for (const { id, tokenIds } of (await core.step()).updates) {
      texts.get(id)?.push(...tokenIds)
      numDrawn += tokenIds.length
    }
    onProgress(numDrawn / (starts.length * WINDOW_TOKENS))
  }
  const tokens = [...texts.values()].map((ids) => Int32Array.from(ids))
  return calibrationOf('written by the model', tokens)
}

/** Sum up the inputs of these weights over all windows; `executor.moments` has the sums afterwards. */
export async function observeInputs(
  executor: NativeExecutor,
  names: readonly string[],
  windows: readonly Int32Array[],
  signal: AbortSignal,
): Promise<void> {
  executor.observe(names)
  const rows = stepRows([executor])
  for (const window of windows) {
    for (let start = 0; start < window.length; start += rows) {
      signal.throwIfAborted()
      // All rows are wanted: what lies behind the last layer's attention sees no others.
      await runRows(executor, window, start, Math.min(window.length, start + rows), true)
    }
  }
}
