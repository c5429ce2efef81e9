/**
 * Open-loop load over HTTP: requests leave at Poisson times whether or not earlier ones were answered, as users do.
 * Measures each stream from the client's side. Owns no server.
 *
 * Lengths follow a mix like ShareGPT's conversations: log-normal, prompts around 60 tokens with a long tail, answers
 * around 90. Everything comes from one seed, so two systems get the same requests at the same times.
 */

import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { percentile, seededRandom } from './statistics.ts'

export interface LoadOptions {
  /** Up to and including `/v1`. */
  readonly baseUrl: string
  readonly model: string
  /** Requests per second, as an average. */
  readonly rate: number
  readonly numRequests: number
  readonly seed: number
}

export interface LoadTarget {
  readonly timeToFirstTokenMs: number
  readonly interTokenMs: number
}

export interface LoadResult {
  readonly rate: number
  readonly numRequests: number
  readonly numFailed: number
  readonly outputTokensPerSecond: number
  readonly timeToFirstTokenMs: { readonly p50: number; readonly p99: number }
  readonly interTokenMs: { readonly p50: number; readonly p99: number }
  /** Share of requests whose first token and whose 99th percentile gap were in time. */
  readonly attainment: number
}

interface Stream {
  readonly firstMs: number
  readonly gapsMs: readonly number[]
  readonly numTokens: number
}

const WORDS =
  'the of and to in a is that for it as was with be by on not he his but at are this have from or had an'.split(
    ' ',
  )

export async function runLoad(options: LoadOptions, target: LoadTarget): Promise<LoadResult> {
  const random = seededRandom(options.seed)
  const startMs = performance.now()
  let dueMs = startMs
  const streams: Promise<Stream | null>[] = []
  for (let index = 0; index < options.numRequests; index += 1) {
    dueMs += (-Math.log(1 - random()) / options.rate) * 1000
    const body = makeBody(options.model, random)
    const waitMs = dueMs - performance.now()
    if (waitMs > 0) await sleep(waitMs)
    streams.push(request(`${options.baseUrl}/completions`, body))
  }
  const answered = (await Promise.all(streams)).filter((stream) => stream !== null)
  const seconds = (performance.now() - startMs) / 1000
  const first = sorted(answered.map(({ firstMs }) => firstMs))
  const gaps = sorted(answered.flatMap(({ gapsMs }) => gapsMs))
  const good = answered.filter(({ firstMs, gapsMs }) => {
    const worst = gapsMs.length === 0 ? 0 : percentile(sorted(gapsMs), 0.99)
    return firstMs <= target.timeToFirstTokenMs && worst <= target.interTokenMs
  })
  return {
    rate: options.rate,
    numRequests: options.numRequests,
    numFailed: options.numRequests - answered.length,
    outputTokensPerSecond: answered.reduce((sum, { numTokens }) => sum + numTokens, 0) / seconds,
    timeToFirstTokenMs: { p50: percentile(first, 0.5), p99: percentile(first, 0.99) },
    interTokenMs: { p50: percentile(gaps, 0.5), p99: percentile(gaps, 0.99) },
    attainment: good.length / options.numRequests,
  }
}

/** @returns the highest of `rates` at which `share` of the requests meet the target, 0 when none does */
export function goodput(results: readonly LoadResult[], share = 0.99): number {
  return Math.max(
    0,
    ...results.filter(({ attainment }) => attainment >= share).map(({ rate }) => rate),
  )
}

function makeBody(model: string, random: () => number): string {
  const promptTokens = logNormal(random, 60, 0.9, 8, 900)
  const maxTokens = logNormal(random, 90, 0.7, 4, 400)
  const words = Array.from(
    { length: promptTokens },
    () => WORDS[Math.floor(random() * WORDS.length)],
  )
  // `ignore_eos` is read by Ingot and by llama.cpp, so both generate what was asked.
  const wishes = { max_tokens: maxTokens, temperature: 0, ignore_eos: true, stream: true }
  return JSON.stringify({ model, prompt: words.join(' '), ...wishes })
}

function logNormal(
  random: () => number,
  median: number,
  sigma: number,
  min: number,
  max: number,
): number {
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  return Math.round(Math.min(max, Math.max(min, median * Math.exp(sigma * normal))))
}

/** One streamed request; `null` when it was refused or broke off. A chunk is one token for both systems measured. */
async function request(url: string, body: string): Promise<Stream | null> {
  const sentMs = performance.now()
  try {
    const response = await fetch(url, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json' },
    })
    if (!response.ok || response.body === null) return null
    const arrivals: number[] = []
    let isDone = false
    let rest = ''
    for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
      const nowMs = performance.now()
      const lines = (rest + piece).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        if (line.startsWith('data: [DONE]')) isDone = true
        else if (line.startsWith('data: {"error"')) return null
        else if (line.startsWith('data: ')) arrivals.push(nowMs)
      }
    }
    const [first] = arrivals
    if (!isDone || first === undefined) return null
    const gapsMs = arrivals.slice(1).map((at, index) => at - (arrivals[index] ?? at))
    return { firstMs: first - sentMs, gapsMs, numTokens: arrivals.length }
  } catch {
    // A broken connection is a failed request: counted, not thrown, for the load must go on.
    return null
  }
}

function sorted(values: readonly number[]): number[] {
  const copy = values.length === 0 ? [Number.POSITIVE_INFINITY] : [...values]
  return copy.sort((a, b) => a - b)
}
