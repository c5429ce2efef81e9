/**
 * How many replicas a dedicated endpoint should have, from its measured load. Pure but for the windows that it keeps; time
 * comes in with the samples.
 *
 *   load     = max(sequences that run or wait ÷ what a replica runs at once, share of KV in use × replicas), in replicas
 *   wanted   = ⌈load ÷ target⌉, and one more than now while sequences would wait longer than `QUEUE_LIMIT_MS`
 *   up       when wanted was above the replicas for a whole up-window: to the least that was wanted in it
 *   down     when wanted was below the replicas for a whole down-window: to the most that was wanted in it
 *
 * A1 min ≤ replicas ≤ max.
 * A2 a load that swings over a boundary changes nothing: each window begins anew when its condition does not hold.
 * A3 after a gap without samples (a stopped process) a window begins anew: nobody knows what was in between.
 * Sources: Knative's and Kubernetes' stabilisation windows; Fireworks' scale-up and scale-down windows.
 */

import type { AutoscalingSpec } from './endpoint-spec.ts'

export interface LoadSample {
  readonly nowMs: number
  /** That should run at the moment. */
  readonly numReplicas: number
  /** That run or wait, in all replicas. */
  readonly numSequences: number
  /** Sequences that one replica runs at once. */
  readonly maxNumSeqs: number
  /** Mean share of KV blocks in use, 0 … 1; blocks that only the prefix cache holds count as free. */
  readonly kvUse: number
  /** What a sequence that came now would wait, in the replica where it is least; milliseconds. */
  readonly queueWaitMs: number
}

const QUEUE_LIMIT_MS = 2_000
/** Between two samples; they come every second. */
const MAX_GAP_MS = 10_000

interface Window {
  readonly sinceMs: number
  readonly wanted: number
}

export class Autoscaler {
  #above: Window | null = null
  #below: Window | null = null
  #lastMs = Number.NEGATIVE_INFINITY

  /** @returns replicas from now on; the same as in the sample mostly */
  next(sample: LoadSample, spec: AutoscalingSpec): number {
    const { nowMs, numReplicas } = sample
    if (nowMs - this.#lastMs > MAX_GAP_MS) this.#restart()
    this.#lastMs = nowMs
    const min = Math.max(1, spec.minReplicas)
    const wanted = clamp(wantedReplicas(sample, spec.targetLoad), min, spec.maxReplicas)
    this.#above = wanted > numReplicas ? grown(this.#above, nowMs, wanted, Math.min) : null
    this.#below = wanted < numReplicas ? grown(this.#below, nowMs, wanted, Math.max) : null
    const isUp = this.#above !== null && nowMs - this.#above.sinceMs >= spec.scaleUpWindowMs
    const isDown = this.#below !== null && nowMs - this.#below.sinceMs >= spec.scaleDownWindowMs
    const window = isUp ? this.#above : isDown ? this.#below : null
    if (window !== null) this.#restart()
    return clamp(window?.wanted ?? numReplicas, min, spec.maxReplicas)
  }

  #restart(): void {
    this.#above = null
    this.#below = null
  }
}

function wantedReplicas(sample: LoadSample, targetLoad: number): number {
  const { numReplicas, numSequences, maxNumSeqs, kvUse, queueWaitMs } = sample
  const load = Math.max(numSequences / maxNumSeqs, kvUse * numReplicas)
  const wanted = Math.ceil(load / targetLoad)
  return queueWaitMs > QUEUE_LIMIT_MS ? Math.max(wanted, numReplicas + 1) : wanted
}

function grown(
  window: Window | null,
  nowMs: number,
  wanted: number,
  extreme: (a: number, b: number) => number,
): Window {
  if (window === null) return { sinceMs: nowMs, wanted }
  return { sinceMs: window.sinceMs, wanted: extreme(window.wanted, wanted) }
}

function clamp(value: number, min: number, max: number): number {
  return Math.min(Math.max(value, min), Math.max(min, max))
}
