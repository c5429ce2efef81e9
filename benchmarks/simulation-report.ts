/** What a simulation shows: percentiles of the two latencies, goodput, and how evenly tenants were served. Pure. */

import type { Outcome, Simulation } from './simulator.ts'
import { percentile } from './statistics.ts'

export interface SimulationFigures {
  readonly numFinished: number
  readonly numRefused: number
  readonly tokensPerSecond: number
  /** p50, p90, p99, milliseconds. */
  readonly timeToFirstToken: readonly number[]
  readonly interTokenLatency: readonly number[]
  /** Share of the arrivals with a first token within a second and no gap above 100 ms. */
  readonly goodput: number
  readonly cachedShare: number
  readonly numPreemptions: number
  /** Jain's index over the tenants' mean times to the first token: 1 = all wait alike. */
  readonly fairness: number
}

const MOST_FIRST_MS = 1000
const MOST_GAP_MS = 100

export function figuresOf({ outcomes, totalMs, numPreemptions }: Simulation): SimulationFigures {
  const finished = outcomes.filter(({ end }) => end === 'finished')
  const sum = (values: readonly number[]): number => values.reduce((all, one) => all + one, 0)
  const firsts = finished.map(firstMs).sort(ascending)
  const gaps = finished.flatMap(({ gapsMs }) => gapsMs).sort(ascending)
  const isGood = (one: Outcome): boolean =>
    firstMs(one) <= MOST_FIRST_MS && one.gapsMs.every((gap) => gap <= MOST_GAP_MS)
  const promptTokens = sum(finished.map(({ arrival }) => arrival.promptIds.length))
  return {
    numFinished: finished.length,
    numRefused: outcomes.filter(({ end }) => end === 'refused').length,
    tokensPerSecond: (1000 * sum(finished.map(({ numTokens }) => numTokens))) / totalMs,
    timeToFirstToken: percentiles(firsts),
    interTokenLatency: percentiles(gaps),
    goodput: finished.filter(isGood).length / outcomes.length,
    cachedShare: sum(finished.map(({ numCachedTokens }) => numCachedTokens)) / promptTokens,
    numPreemptions,
    fairness: jain(meansByTenant(finished)),
  }
}

export function formatFigures(name: string, figures: SimulationFigures): string {
  const ms = (values: readonly number[]): string => values.map((one) => one.toFixed(0)).join(' / ')
  const { timeToFirstToken, interTokenLatency, goodput, tokensPerSecond } = figures
  return [
    name.padEnd(34),
    `TTFT ${ms(timeToFirstToken)} ms`.padEnd(28),
    `ITL ${ms(interTokenLatency)} ms`.padEnd(22),
    `goodput ${(100 * goodput).toFixed(0)} %`.padEnd(14),
    `${tokensPerSecond.toFixed(0)} tok/s`.padEnd(12),
    `cached ${(100 * figures.cachedShare).toFixed(0)} %`.padEnd(12),
    `fairness ${figures.fairness.toFixed(2)}`,
  ].join(' ')
}

const ascending = (a: number, b: number): number => a - b

function firstMs({ arrival, firstTokenMs }: Outcome): number {
  return (firstTokenMs ?? Number.POSITIVE_INFINITY) - arrival.atMs
}

function percentiles(sorted: readonly number[]): number[] {
  return sorted.length === 0 ? [] : [0.5, 0.9, 0.99].map((p) => percentile(sorted, p))
}

function meansByTenant(finished: readonly Outcome[]): number[] {
  const byTenant = new Map<string, number[]>()
  for (const one of finished) {
    const firsts = byTenant.get(one.arrival.tenant) ?? []
    byTenant.set(one.arrival.tenant, [...firsts, firstMs(one)])
  }
  return [...byTenant.values()].map((all) => all.reduce((sum, one) => sum + one, 0) / all.length)
}

function jain(values: readonly number[]): number {
  const sum = values.reduce((all, one) => all + one, 0)
  const squares = values.reduce((all, one) => all + one * one, 0)
  return values.length === 0 ? 1 : (sum * sum) / (values.length * squares)
}
