/**
 * Measures variants of one model against its most exact one: perplexity, divergence, size and speed. At most two engines
 * are loaded at a time, the reference and one other; logits are compared a step at a time and never kept.
 */

import { performance } from 'node:perf_hooks'
import type { OpenedExecutor } from '../../execution/executor-facts.ts'
import { compareRow, lossOf, mean, quantile, standardError } from './divergence.ts'
import { logitsRow, runRows, stepRows } from './window-run.ts'

export interface VariantEngine {
  readonly executor: OpenedExecutor
  readonly weightsBytes: number
  readonly kvBytesPerToken: number
  /** Activations and KV it computes with, for people: `int8, bf16 KV`. */
  readonly computesIn: string
  close(): Promise<void>
}

export interface VariantResult {
  readonly variant: string
  readonly computesIn: string
  readonly weightsBytes: number
  /** Weights, and KV of one window. */
  readonly memoryBytes: number
  readonly perplexity: number
  /** Nats; all `null` for the reference. */
  readonly meanKl: number | null
  /** Its standard error over positions. */
  readonly meanKlError: number | null
  readonly medianKl: number | null
  readonly p90Kl: number | null
  readonly p99Kl: number | null
  /** 0 … 1. */
  readonly topAgreement: number | null
  readonly prefillTokensPerSecond: number
  readonly decodeTokensPerSecond: number
}

export interface MeasureOptions {
  /** Each is computed from an empty cache. */
  readonly windows: readonly Int32Array[]
  /** Position in a window from which predictions count, so that all have some context; default 0. */
  readonly firstScored?: number
  readonly prefillTokens: number
  readonly decodeTokens: number
  readonly rounds: number
  readonly signal: AbortSignal
  open(variant: string): Promise<VariantEngine>
  onProgress(variant: string, fraction: number): void
}

/** @param variants - the reference first */
export async function measureVariants(
  variants: readonly string[],
  options: MeasureOptions,
): Promise<readonly VariantResult[]> {
  const [first = '', ...others] = variants
  const reference = await options.open(first)
  try {
    const results = [await measureOne(first, reference, null, options)]
    for (const variant of others) {
      const engine = await options.open(variant)
      try {
        results.push(await measureOne(variant, engine, reference, options))
      } finally {
        await engine.close()
      }
    }
    return results
  } finally {
    await reference.close()
  }
}

async function measureOne(
  variant: string,
  engine: VariantEngine,
  reference: VariantEngine | null,
  options: MeasureOptions,
): Promise<VariantResult> {
  const { windows, firstScored = 0, onProgress, signal } = options
  const losses: number[] = []
  const kls: number[] = []
  let numSame = 0
  const executors = reference === null ? [engine.executor] : [engine.executor, reference.executor]
  const rows = stepRows(executors)
  for (const [index, window] of windows.entries()) {
    onProgress(variant, index / windows.length)
    for (let start = 0; start < window.length; start += rows) {
      signal.throwIfAborted()
      const end = Math.min(window.length, start + rows)
      for (const executor of executors) await runRows(executor, window, start, end, true)
      // The last token of a window has nothing after it.
      for (let at = Math.max(start, firstScored); at < Math.min(end, window.length - 1); at++) {
        const next = window[at + 1] ?? 0
        const row = logitsRow(engine.executor, at - start)
        if (reference === null) {
          losses.push(lossOf(row, next))
          continue
        }
        const compared = compareRow(logitsRow(reference.executor, at - start), row, next)
        losses.push(compared.loss)
        kls.push(compared.kl)
        if (compared.isSameTop) numSame += 1
      }
    }
  }
  onProgress(variant, 1)
  const sorted = kls.sort((a, b) => a - b)
  const known = (value: number) => (reference === null ? null : value)
  const longest = Math.max(...windows.map(({ length }) => length))
  return {
    variant,
    computesIn: engine.computesIn,
    weightsBytes: engine.weightsBytes,
    memoryBytes: engine.weightsBytes + engine.kvBytesPerToken * longest,
    perplexity: Math.exp(mean(losses)),
    meanKl: known(mean(sorted)),
    meanKlError: known(standardError(sorted)),
    medianKl: known(quantile(sorted, 0.5)),
    p90Kl: known(quantile(sorted, 0.9)),
    p99Kl: known(quantile(sorted, 0.99)),
    topAgreement: known(numSame / Math.max(1, kls.length)),
    ...(await measureSpeed(engine.executor, windows, options)),
  }
}

/** Medians over rounds, the first of which is thrown away. */
async function measureSpeed(
  executor: OpenedExecutor,
  windows: readonly Int32Array[],
  { prefillTokens, decodeTokens, rounds, signal }: MeasureOptions,
): Promise<Pick<VariantResult, 'prefillTokensPerSecond' | 'decodeTokensPerSecond'>> {
  const text = Int32Array.from(windows.flatMap((window) => [...window]))
  const tokens = Int32Array.from(
    { length: prefillTokens + decodeTokens },
    (_, at) => text[at % text.length] ?? 0,
  )
  const step = executor.limits.maxNumBatchedTokens
  const prefills: number[] = []
  const decodes: number[] = []
  for (let round = 0; round <= rounds; round++) {
    signal.throwIfAborted()
    const startMs = performance.now()
    for (let at = 0; at < prefillTokens; at += step) {
      await runRows(executor, tokens, at, Math.min(prefillTokens, at + step), false)
    }
    const filledMs = performance.now()
    for (let at = prefillTokens; at < tokens.length; at++) {
      await runRows(executor, tokens, at, at + 1, false)
    }
    const endMs = performance.now()
    if (round === 0) continue
    prefills.push((1000 * prefillTokens) / (filledMs - startMs))
    decodes.push((1000 * decodeTokens) / (endMs - filledMs))
  }
  const median = (values: number[]) =>
    quantile(
      values.sort((a, b) => a - b),
      0.5,
    )
  return { prefillTokensPerSecond: median(prefills), decodeTokensPerSecond: median(decodes) }
}
