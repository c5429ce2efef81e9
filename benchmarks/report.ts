/** The printed table and the kept record of one run. Formats; measures nothing. */

import { mkdirSync, writeFileSync } from 'node:fs'
import type { LimitVerdict, RatioVerdict } from './judge.ts'
import type { MachineLimits } from './limits.ts'
import type { MachineRecord } from './machine.ts'
import type { QualityBeside } from './quality.ts'
import type { Spread } from './statistics.ts'
import type { WorkPerToken } from './work-per-token.ts'

export interface SystemRecord {
  readonly name: string
  readonly version: string
  readonly weights: string
}

export interface TrialResult {
  readonly trial: string
  readonly system: string
  readonly figure: 'decode' | 'prefill' | 'mixed'
  readonly numSeqs: number
  readonly promptTokens: number
  readonly outputTokens: number
  /** Tokens per second over the whole batch. */
  readonly tokensPerSecond: Spread
  /** Counted ones. */
  readonly rounds: number
}

export interface BenchRecord {
  readonly benchmark: string
  readonly machine: MachineRecord
  readonly model: { readonly id: string; readonly digest: string; readonly quantization: string }
  readonly threads: number
  readonly cacheState: string
  readonly systems: readonly SystemRecord[]
  readonly results: readonly TrialResult[]
  readonly skipped: readonly string[]
  /** Of a preset. */
  readonly question?: string
  readonly ratios?: readonly RatioVerdict[]
  /** Absent when not measured. */
  readonly limits?: MachineLimits
  readonly work?: WorkPerToken | null
  readonly shares?: readonly LimitVerdict[]
  readonly quality?: QualityBeside
}

/** One row a trial, one column a system, each with its median and its ratio to the first system's. */
export function formatTable(record: BenchRecord): string {
  const names = record.systems.map((system) => system.name)
  const trials = [...new Set(record.results.map((result) => result.trial))]
  const rows = trials.map((trial) => {
    const medians = names.map((name) => medianOf(record, trial, name))
    const best = Math.max(...medians.slice(1).map((median) => median ?? 0))
    const ratio = best > 0 && medians[0] !== undefined ? `${(medians[0] / best).toFixed(2)}×` : ''
    return [trial, ...medians.map((median) => median?.toFixed(0) ?? '–'), ratio]
  })
  const header = ['tokens/s', ...names, names.length > 1 ? `${names[0]} ÷ best peer` : '']
  return layOut([header, ...rows])
}

/** Keep the record under `results/` by date, benchmark and commit; returns the path. */
export function keepRecord(record: BenchRecord, folder: string): string {
  return keepJson(record, record.machine, record.benchmark, folder)
}

export function keepJson(
  record: object,
  machine: MachineRecord,
  benchmark: string,
  folder: string,
): string {
  mkdirSync(folder, { recursive: true })
  const commit = machine.commit.replace('+', '-dirty')
  const path = `${folder}/${machine.date.slice(0, 10)}-${benchmark}-${commit}.json`
  writeFileSync(path, `${JSON.stringify(record, null, 2)}\n`)
  return path
}

function medianOf(record: BenchRecord, trial: string, system: string): number | undefined {
  return record.results.find((result) => result.trial === trial && result.system === system)
    ?.tokensPerSecond.median
}

function layOut(rows: readonly (readonly string[])[]): string {
  const widths =
    rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? []
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  ')
  return rows.map(line).join('\n')
}
