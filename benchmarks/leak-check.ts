/**
 * Whether memory grows with the number of requests: many small ones against a running server, resident memory of both its
 * processes as they go. Owns no server.
 *
 * Growth counts from `settleRequests` on: until then the KV pool and the prefix cache are touched for the first time, heaps
 * find their size and code is compiled.
 */

import type { HttpServerUnderTest } from './http-servers.ts'
import { residentMemory } from './processes.ts'
import { seededRandom } from './statistics.ts'

export interface LeakOptions {
  readonly server: HttpServerUnderTest
  readonly enginePid: number
  readonly numRequests: number
  readonly settleRequests: number
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
  /** From the sample after `settleRequests` to the last one, both processes. */
  readonly growthBytes: number
  readonly growthBytesPerRequest: number
}

const NUM_SAMPLES = 20

export async function checkLeaks(options: LeakOptions): Promise<LeakResult> {
  const { numRequests, concurrency, onProgress } = options
  const random = seededRandom(7)
  const samples: MemorySample[] = []
  const startMs = performance.now()
  const chunk = Math.max(concurrency, Math.ceil(numRequests / NUM_SAMPLES))
  for (let done = 0; done < numRequests; ) {
    const count = Math.min(chunk, numRequests - done)
    await ask(options, count, random)
    done += count
    const sample = sampleOf(options, done)
    samples.push(sample)
    const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1)
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
  const [first] = settled
  const last = settled.at(-1)
  if (first === undefined || last === undefined || first === last) {
    return { growthBytes: 0, growthBytesPerRequest: 0 }
  }
  const growthBytes = last.apiBytes + last.engineBytes - (first.apiBytes + first.engineBytes)
  return { growthBytes, growthBytesPerRequest: growthBytes / (last.requests - first.requests) }
}

async function ask(
  { server, concurrency }: LeakOptions,
  count: number,
  random: () => number,
): Promise<void> {
  let left = count
  const one = async () => {
    while (left > 0) {
      left -= 1
      const prompt = Array.from({ length: 6 }, () => 100 + Math.floor(random() * 40_000))
      const body = { model: server.model, prompt, max_tokens: 2, temperature: 0, ignore_eos: true }
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
