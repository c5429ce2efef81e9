/**
 * Open-loop load over HTTP: requests leave at their times whether or not earlier ones were answered, as users do.
 * Measures each stream from the client's side, and breaks all off when the target is out of reach. Owns no server.
 */

import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Latency, type LoadTarget, LoadVerdict } from './load-verdict.ts'
import type { PlannedRequest } from './request-mix.ts'

export interface LoadOptions {
  /** Up to and including `/v1`. */
  readonly baseUrl: string
  readonly model: string
  readonly requests: readonly PlannedRequest[]
  readonly target: LoadTarget
}

export interface LoadResult {
  readonly isInTime: boolean
  /** False when it was broken off. */
  readonly isComplete: boolean
  readonly numRequests: number
  readonly numFailed: number
  readonly seconds: number
  readonly outputTokensPerSecond: number
  readonly timeToFirstTokenMs: Latency | null
  readonly interTokenMs: Latency | null
}

export async function runLoad(options: LoadOptions): Promise<LoadResult> {
  const { requests, target } = options
  const numGaps = requests.reduce((sum, { outputTokens }) => sum + outputTokens - 1, 0)
  const verdict = new LoadVerdict(target, requests.length, numGaps)
  const breakOff = new AbortController()
  const { signal } = breakOff
  const startMs = performance.now()
  const streams: Promise<void>[] = []
  for (const request of requests) {
    const waitMs = startMs + request.dueMs - performance.now()
    // Timers come a little late rather than early: a wait that ends on time is as good as none.
    if (waitMs > 0) await sleep(waitMs, undefined, { signal }).catch(() => {})
    if (signal.aborted) break
    streams.push(stream(options, request, { verdict, breakOff }))
  }
  await Promise.all(streams)
  const seconds = (performance.now() - startMs) / 1000
  return {
    isInTime: verdict.isInTime,
    isComplete: !signal.aborted,
    numRequests: requests.length,
    numFailed: verdict.numFailed,
    seconds,
    outputTokensPerSecond: verdict.numTokens / seconds,
    timeToFirstTokenMs: verdict.firstTokenMs,
    interTokenMs: verdict.interTokenMs,
  }
}

interface Running {
  readonly verdict: LoadVerdict
  readonly breakOff: AbortController
}

async function stream(
  { baseUrl, model }: LoadOptions,
  { prompt, outputTokens }: PlannedRequest,
  { verdict, breakOff }: Running,
): Promise<void> {
  // `ignore_eos` is read by Ingot and by llama.cpp, so both generate what was asked.
  const wishes = { max_tokens: outputTokens, temperature: 0, ignore_eos: true, stream: true }
  const { signal } = breakOff
  try {
    const sentMs = performance.now()
    let lastMs: number | null = null
    for await (const nowMs of arrivals(`${baseUrl}/completions`, {
      body: JSON.stringify({ model, prompt, ...wishes }),
      signal,
    })) {
      if (lastMs === null) verdict.onFirstToken(nowMs - sentMs)
      else verdict.onGap(nowMs - lastMs)
      lastMs = nowMs
      if (!verdict.isInTime) breakOff.abort()
    }
    if (lastMs === null) throw new Error('an answer without text')
  } catch {
    // A broken connection or a refusal is a failed request: counted, not thrown, for others are under way. What was
    // broken off here is none.
    if (!signal.aborted) verdict.onFailure()
    breakOff.abort()
  }
}

/** Times at which text arrived. @throws Error when the answer is an error or breaks off */
async function* arrivals(
  url: string,
  { body, signal }: { readonly body: string; readonly signal: AbortSignal },
): AsyncGenerator<number> {
  const headers = { 'content-type': 'application/json' }
  const response = await fetch(url, { method: 'POST', body, headers, signal })
  if (!response.ok || response.body === null) throw new Error(`status ${response.status}`)
  let isDone = false
  let rest = ''
  for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
    const nowMs = performance.now()
    const lines = (rest + piece).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      if (line.startsWith('data: [DONE]')) isDone = true
      else if (line.startsWith('data: {"error"')) throw new Error(line)
      else if (line.startsWith('data: ') && !line.includes('"text":""')) yield nowMs
    }
  }
  if (!isDone) throw new Error('the stream broke off')
}
