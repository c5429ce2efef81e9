/** What `bench:start` measured, against what was promised, and as text. Pure. */

import type { KvDtype } from '../src/base/kv-dtype.ts'
import type { LeakResult } from './leak-check.ts'
import type { MachineRecord } from './machine.ts'
import type { Spread } from './statistics.ts'

export interface StartRecord {
  readonly benchmark: string
  readonly machine: MachineRecord
  readonly model: { readonly id: string; readonly digest: string; readonly quantization: string }
  readonly threads: number
  readonly runs: number
  readonly weightsHeldAs: string
  /** As packed. */
  readonly weightsBytes: number
  readonly kvBytes: number
  /** As computed from the checkpoint's geometry. */
  readonly kvBytesPerToken: Readonly<Record<KvDtype, number>>
  /** As the engine has it, for its own KV type. */
  readonly kvBytesPerTokenOfEngine: number
  /** From a checkpoint's path to an engine that steps, inside a process. */
  readonly loadMs: Spread
  /** The same with the start and the end of the process around it. */
  readonly processToEngineMs: Spread
  /** Of a process with nothing but the engine, after loading. */
  readonly engineRssBytes: Spread
  /** From the start of `ingot serve`. */
  readonly healthyMs: Spread
  readonly firstTokenMs: Spread
  /** Resident memory of `ingot serve` after its first answer. */
  readonly served: { readonly apiBytes: number; readonly engineBytes: number }
  readonly leak: LeakResult | null
}

export interface StartVerdict {
  readonly what: string
  readonly measured: number
  readonly most: number
  readonly unit: 'ms' | 'MB'
  readonly isMet: boolean
}

/** A heap's size wanders by some megabytes: growth below this is none. */
const GROWTH_NOISE_MB = 8

/** Medians against what is promised. */
export function judgeStart(record: StartRecord): StartVerdict[] {
  const most = (record.weightsBytes * 1.15 + record.kvBytes) / 1e6 + 150
  const { apiBytes, engineBytes } = record.served
  const verdict = (what: string, unit: 'ms' | 'MB', measured: number, limit: number) => {
    return { what, measured, most: limit, unit, isMet: measured <= limit }
  }
  const verdicts = [
    verdict('load of packed weights to a ready engine', 'ms', record.loadMs.median, 300),
    verdict('first token of a cold process', 'ms', record.firstTokenMs.median, 1000),
    verdict('resident after loading, engine process', 'MB', engineBytes / 1e6, most),
    verdict('resident, API and engine together', 'MB', (apiBytes + engineBytes) / 1e6, most),
  ]
  if (record.leak === null) return verdicts
  const { growthBytes, requests, samples } = record.leak
  const last = (samples.at(-1)?.engineBytes ?? 0) / 1e6
  return [
    ...verdicts,
    verdict(
      `resident after ${requests} requests (all KV touched), engine process`,
      'MB',
      last,
      most,
    ),
    verdict(`growth over ${requests} requests`, 'MB', growthBytes / 1e6, GROWTH_NOISE_MB),
  ]
}

export function formatStart(record: StartRecord, verdicts: readonly StartVerdict[]): string {
  const { weightsBytes, kvBytes, kvBytesPerToken, leak, healthyMs, processToEngineMs } = record
  const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`
  const range = ({ min, median, max }: Spread) =>
    `${median.toFixed(0)} ms (${min.toFixed(0)} to ${max.toFixed(0)})`
  const kv = Object.entries(kvBytesPerToken).map(([dtype, bytes]) => `${dtype} ${bytes}`)
  const lines = [
    `weights ${megabytes(weightsBytes)} packed (${record.weightsHeldAs}), KV ${megabytes(kvBytes)}`,
    `KV bytes a token, as computed: ${kv.join(', ')}; the engine has ${record.kvBytesPerTokenOfEngine}`,
    `load ${range(record.loadMs)}, with its process ${range(processToEngineMs)}; serve: healthy ${range(healthyMs)}, first token ${range(record.firstTokenMs)}`,
    `resident after the first answer: API ${megabytes(record.served.apiBytes)}, engine ${megabytes(record.served.engineBytes)}; engine alone after loading ${megabytes(record.engineRssBytes.median)}`,
  ]
  if (leak !== null) {
    const rate = leak.growthBytesPerRequest.toFixed(0)
    lines.push(
      `${leak.requests} requests at ${leak.requestsPerSecond.toFixed(0)}/s: growth ${megabytes(leak.growthBytes)} between the halves after a fifth of them, ${rate} bytes a request`,
    )
  }
  const judged = verdicts.map(({ what, measured, most, unit, isMet }) => {
    const amount = (value: number) => `${value.toFixed(unit === 'ms' ? 0 : 1)} ${unit}`
    return `${what}: ${amount(measured)}, target ≤ ${amount(most)}: ${isMet ? 'met' : 'MISSED'}`
  })
  return [...lines, ...judged].join('\n')
}
