/**
 * Goodput of servers: the highest rate of arrivals at which a server keeps the target, found by a search of its own for
 * each, in turns, so that a machine that slows down slows all of them. Owns no server.
 */

import { type LoadResult, runLoad } from './http-load.ts'
import type { HttpServerUnderTest } from './http-servers.ts'
import type { LoadTarget } from './load-verdict.ts'
import { RateSearch, type RateSearchOptions } from './rate-search.ts'
import { planLoad } from './request-mix.ts'

export interface GoodputOptions {
  readonly servers: readonly HttpServerUnderTest[]
  readonly target: LoadTarget
  readonly search: Omit<RateSearchOptions, 'firstRate'>
  /** Arrivals of one probe last about so long. */
  readonly probeSeconds: number
  readonly leastRequests: number
  /** No probe is begun after so long; what was found until then counts. */
  readonly mostSeconds: number
  /** Requests that each server answers before anything is counted. */
  readonly warmUpRequests: number
  readonly seed: number
  readonly onProgress: (line: string) => void
}

export interface Probe extends LoadResult {
  /** Requests a second. */
  readonly rate: number
}

export interface GoodputResult {
  readonly name: string
  /** Requests a second; 0 when no rate that was tried is kept. */
  readonly goodput: number
  /** False when time ended before the search did. */
  readonly isSearchComplete: boolean
  readonly probes: readonly Probe[]
}

export async function findGoodput(options: GoodputOptions): Promise<GoodputResult[]> {
  const { servers, target, onProgress } = options
  const searches = servers.map((server) => {
    const search = new RateSearch({ ...options.search, firstRate: server.firstRate })
    return { server, search, probes: [] as Probe[] }
  })
  for (const { server } of searches) {
    onProgress(`${server.name}: warming up`)
    await warmUp(server, options)
  }
  const endMs = performance.now() + options.mostSeconds * 1000
  let isAnyOpen = true
  while (isAnyOpen && performance.now() < endMs) {
    isAnyOpen = false
    for (const { server, search, probes } of searches) {
      const rate = search.next()
      if (rate === null || performance.now() > endMs) continue
      isAnyOpen = true
      const numRequests = Math.max(options.leastRequests, Math.round(rate * options.probeSeconds))
      // Each probe has its own texts: no answer comes from a cache of an earlier one.
      const requests = planLoad(rate, numRequests, options.seed + probes.length * 7919)
      const result = await runLoad({ ...server, requests, target })
      search.report(rate, result.isInTime)
      probes.push({ rate, ...result })
      onProgress(`${server.name} at ${rate.toFixed(2)}/s: ${describeProbe(result)}`)
      await untilIdle(server)
    }
  }
  return searches.map(({ server, search, probes }) => ({
    name: server.name,
    goodput: search.best,
    isSearchComplete: search.next() === null,
    probes,
  }))
}

/** Some requests at once, so that memory is touched, code is compiled and costs are learned; nothing is counted. */
async function warmUp(
  server: HttpServerUnderTest,
  { seed, warmUpRequests }: GoodputOptions,
): Promise<void> {
  const target = { timeToFirstTokenMs: 1e9, interTokenMs: 1e9 }
  const requests = planLoad(8, warmUpRequests, seed - 1)
  const { numFailed } = await runLoad({ ...server, requests, target })
  if (numFailed > 0) throw new Error(`${server.name} refused or broke off ${numFailed} requests`)
}

/** Until what was broken off has ended, which a small request at its usual speed shows; ten seconds at most. */
async function untilIdle(server: HttpServerUnderTest): Promise<void> {
  const target = { timeToFirstTokenMs: 300, interTokenMs: 100 }
  const endMs = performance.now() + 10_000
  for (let tries = 0; performance.now() < endMs; tries += 1) {
    const requests = [{ dueMs: 0, prompt: `again ${tries}`, outputTokens: 2 }]
    if ((await runLoad({ ...server, requests, target })).isInTime) return
  }
}

function describeProbe(result: LoadResult): string {
  const { isInTime, isComplete, numFailed, outputTokensPerSecond } = result
  const verdict = isInTime ? 'in time' : isComplete ? 'too slow' : 'too slow, broken off'
  const of = (latency: LoadResult['interTokenMs']) =>
    latency === null ? '–' : `p50 ${latency.p50.toFixed(1)} p99 ${latency.p99.toFixed(1)} ms`
  const failed = numFailed === 0 ? '' : `, ${numFailed} failed`
  return `${verdict}, first token ${of(result.timeToFirstTokenMs)}, gap ${of(result.interTokenMs)}, ${outputTokensPerSecond.toFixed(0)} tokens/s, ${result.seconds.toFixed(0)} s${failed}`
}
