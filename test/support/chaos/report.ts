/** The figures of a run, as lines for people. Pure. */

import type { FaultCounts } from './faults.ts'
import type { MemoryPeak } from './memory-watch.ts'
import type { RequestResult } from './one-request.ts'

const MEBIBYTE = 2 ** 20

export function countBy(
  results: readonly RequestResult[],
  key: (result: RequestResult) => string,
): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const result of results) counts.set(key(result), (counts.get(key(result)) ?? 0) + 1)
  return new Map([...counts].sort(([, one], [, other]) => other - one))
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((one, other) => one - other)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

export function chaosReport(run: {
  readonly seed: number
  readonly seconds: number
  readonly results: readonly RequestResult[]
  readonly faults: FaultCounts
  readonly peak: MemoryPeak
  readonly budgetBytes: number
}): string {
  const { results, faults, peak, budgetBytes } = run
  const firstTokens = results.flatMap(({ firstTokenMs }) => firstTokenMs ?? [])
  const shown = (bytes: number): string => `${(bytes / MEBIBYTE).toFixed(0)} MiB`
  const pairs = (counts: ReadonlyMap<string, number>): string =>
    [...counts].map(([key, count]) => `${key} ${count}`).join(', ')
  return [
    `${run.seconds} s with seed ${run.seed}: ${results.length} requests`,
    `  outcomes: ${pairs(countBy(results, ({ outcome }) => outcome))}`,
    `  by name: ${pairs(countBy(results, ({ plan }) => plan.target))}`,
    `  answered by: ${pairs(
      countBy(
        results.filter(({ outcome }) => outcome === 'answered'),
        ({ variant }) => variant ?? 'unknown',
      ),
    )}`,
    `  first token of streams: median ${median(firstTokens).toFixed(0)} ms, 95 % ${quantile(firstTokens, 0.95).toFixed(0)} ms`,
    `  faults: ${faults.numKills} engines killed, ${faults.numReloads + faults.numSignals} reloads (${faults.numSignals} by SIGHUP), ${faults.numRefusals} broken files refused`,
    `  memory: engines at most ${shown(peak.engineBytes)}, ${shown(peak.totalBytes)} with the server, of a budget of ${shown(budgetBytes)}; ${peak.numEngines} engines at most, ${peak.numSamples} samples`,
    ...[
      ...countBy(
        results.filter(({ detail }) => detail !== ''),
        ({ outcome, detail }) => `${outcome}: ${detail}`,
      ),
    ].map(([what, count]) => `  ${count} × ${what}`),
  ].join('\n')
}
