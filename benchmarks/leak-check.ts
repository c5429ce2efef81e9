/**
 * Whether memory grows with the number of requests: many small ones against a running server, resident memory of both its
 * processes as they go. Owns no server.
 *
 * The KV pool is filled first, so that no page of it is touched for the first time later. (Small requests alone touch as
 * many blocks as were ever in use at once: they share no full block, and of blank blocks the last freed is taken first;
 * 30 MB after 3,000 requests and after 20,000, smaps of the engine, 2026-11-28.) Growth counts from `settleRequests` on:
 * until then heaps find their size and code is compiled. A heap's size is a sawtooth, so growth is between the lowest
 * points of the first and of the second half, each process by itself.
 */

import type { HttpServerUnderTest } from './http-servers.ts'
import { residentMemory } from './processes.ts'
import { seededRandom } from './statistics.ts'

export interface LeakOptions {
  readonly server: HttpServerUnderTest
  readonly enginePid: number
  readonly numRequests: number
  readonly settleRequests: number
  /** Tokens that the KV pool holds. */
  readonly poolTokens: number
  /** Requests under way at once. */
  readonly concurrency: number
  readonly onProgress: (line: string) => void
}

export interface MemorySample {
  readonly requests: number
  readonly apiBytes: number
  readonly engineBytes: number
}

export interface LeakResult {
  readonly requests: number
  readonly requestsPerSecond: number
  readonly samples: readonly MemorySample[]
  /** Both processes. */
  readonly growthBytes: number
  readonly growthBytesPerRequest: number
}

const NUM_SAMPLES = 100
/** Sixteen blocks of 32. */
const FILLING_TOKENS = 512

export async function checkLeaks(options: LeakOptions): Promise<LeakResult> {
  const { numRequests, concurrency, onProgress } = options
  const random = seededRandom(7)
  const samples: MemorySample[] = []
  await fillPool(options, random)
  const startMs = performance.now()
  const chunk = Math.max(concurrency, Math.ceil(numRequests / NUM_SAMPLES))
  for (let done = 0; done < numRequests; ) {
    const count = Math.min(chunk, numRequests - done)
    await ask(options, count, () => randomTokens(6, random))
    done += count
    const sample = sampleOf(options, done)
    samples.push(sample)
    const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1)
    if (samples.length % 10 !== 0) continue
    onProgress(
      `${done} requests: API ${megabytes(sample.apiBytes)} MB, engine ${megabytes(sample.engineBytes)} MB resident`,
    )
  }
  const seconds = (performance.now() - startMs) / 1000
  return {
    requests: numRequests,
    requestsPerSecond: numRequests / seconds,
    samples,
    ...growthOf(samples, options.settleRequests),
  }
}

/** @returns 0 when fewer than two samples lie behind the settling */
export function growthOf(
  samples: readonly MemorySample[],
  settleRequests: number,
): Pick<LeakResult, 'growthBytes' | 'growthBytesPerRequest'> {
  const settled = samples.filter(({ requests }) => requests >= settleRequests)
  const middle = Math.floor(settled.length / 2)
  if (middle === 0) return { growthBytes: 0, growthBytesPerRequest: 0 }
  const halves = [settled.slice(0, middle), settled.slice(middle)] as const
  const [before, after] = halves.map(
    (half) =>
      Math.min(...half.map(({ apiBytes }) => apiBytes)) +
      Math.min(...half.map(({ engineBytes }) => engineBytes)),
  ) as [number, number]
  const growthBytes = after - before
  // Half of the settled requests lie between the middles of the halves.
  const numRequests = ((settled.at(-1)?.requests ?? 0) - (settled[0]?.requests ?? 0)) / 2
  return { growthBytes, growthBytesPerRequest: growthBytes / numRequests }
}

/** Prompts that share nothing: the prefix cache keeps each one's blocks while there are blank ones. */
async function fillPool(options: LeakOptions, random: () => number): Promise<void> {
  const count = Math.ceil((1.2 * options.poolTokens) / FILLING_TOKENS)
  await ask(options, count, () => randomTokens(FILLING_TOKENS, random))
}

function randomTokens(count: number, random: () => number): number[] {
  return Array.from({ length: count }, () => 100 + Math.floor(random() * 40_000))
}

async function ask(
  { server, concurrency }: LeakOptions,
  count: number,
  prompt: () => readonly number[],
): Promise<void> {
  let left = count
  const one = async () => {
    while (left > 0) {
      left -= 1
      const asked = { prompt: prompt(), max_tokens: 2, temperature: 0, ignore_eos: true }
      const body = { model: server.model, ...asked }
      const response = await fetch(`${server.baseUrl}/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
      const text = await response.text()
      if (!response.ok) throw new Error(`status ${response.status}: ${text.slice(0, 300)}`)
    }
  }
  await Promise.all(Array.from({ length: concurrency }, one))
}

function sampleOf({ server, enginePid }: LeakOptions, requests: number): MemorySample {
  const [apiBytes, engineBytes] = [server.pid, enginePid].map(
    (pid) => residentMemory(pid).totalBytes,
  ) as [number, number]
  return { requests, apiBytes, engineBytes }
}
