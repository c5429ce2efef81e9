/**
 * Whether a load was served in time, decided as it happens: at most 1 % of the first tokens later than the target, at most
 * 1 % of the gaps between tokens longer, and no request failed. How many tokens there will be is known beforehand, so a
 * load that cannot pass any more is over at once, and an overloaded server costs no minutes of waiting.
 */

import { percentile } from './statistics.ts'

export interface LoadTarget {
  readonly timeToFirstTokenMs: number
  readonly interTokenMs: number
}

/** Milliseconds; `null` without samples. */
export interface Latency {
  readonly p50: number
  readonly p99: number
}

const SHARE = 0.01

export class LoadVerdict {
  readonly #target: LoadTarget
  readonly #mostLate: number
  readonly #mostSlow: number
  readonly #first: number[] = []
  readonly #gaps: number[] = []
  #numLate = 0
  #numSlow = 0
  #numFailed = 0
  #numTokens = 0

  /** @param numGaps - of all answers together, when every token comes alone */
  constructor(target: LoadTarget, numRequests: number, numGaps: number) {
    this.#target = target
    this.#mostLate = Math.floor(numRequests * SHARE)
    this.#mostSlow = Math.floor(numGaps * SHARE)
  }

  onFirstToken(ms: number): void {
    this.#first.push(ms)
    this.#numTokens += 1
    if (ms > this.#target.timeToFirstTokenMs) this.#numLate += 1
  }

  onGap(ms: number): void {
    this.#gaps.push(ms)
    this.#numTokens += 1
    if (ms > this.#target.interTokenMs) this.#numSlow += 1
  }

  onFailure(): void {
    this.#numFailed += 1
  }

  get numFailed(): number {
    return this.#numFailed
  }

  /** Chunks of text that arrived; a chunk is a token, unless a server joins some. */
  get numTokens(): number {
    return this.#numTokens
  }

  /** Whether the target is still within reach; final when all requests are answered. */
  get isInTime(): boolean {
    if (this.#numFailed > 0) return false
    return this.#numLate <= this.#mostLate && this.#numSlow <= this.#mostSlow
  }

  get firstTokenMs(): Latency | null {
    return latency(this.#first)
  }

  get interTokenMs(): Latency | null {
    return latency(this.#gaps)
  }
}

function latency(values: readonly number[]): Latency | null {
  if (values.length === 0) return null
  const sorted = [...values].sort((a, b) => a - b)
  return { p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99) }
}
