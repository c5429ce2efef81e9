/**
 * How long a sequence that came now would wait to be let in: until the prompts before it are computed, and while every
 * place is taken, until as many sequences have ended as are before it. A guess for refusals and `Retry-After`, from the
 * step-cost model and the recent pace of ends; it need not be right, only honest.
 */

import type { ServingError } from '../base/errors.ts'
import { engineError } from './errors.ts'
import type { Scheduler } from './scheduler.ts'
import type { StepCostModel } from './step-cost-model.ts'

/** Ends in a row that the pace is an average of, about. */
const PACE_ENDS = 32

export class WaitEstimate {
  readonly #model: StepCostModel
  /** Milliseconds between two ends; 0 until two have been seen. */
  #endIntervalMs = 0
  #lastEndMs = -1

  constructor(model: StepCostModel) {
    this.#model = model
  }

  /** A sequence has ended in the engine, for whatever reason but a refusal. */
  ended(nowMs: number): void {
    if (this.#lastEndMs >= 0) {
      const interval = nowMs - this.#lastEndMs
      const share = this.#endIntervalMs === 0 ? 1 : 1 / PACE_ENDS
      this.#endIntervalMs += share * (interval - this.#endIntervalMs)
    }
    this.#lastEndMs = nowMs
  }

  /** Cost: O(running). */
  waitMs({ running, numWaiting, numWaitingTokens }: Scheduler, maxNumSeqs: number): number {
    let numPromptTokens = numWaitingTokens
    let numStreams = 0
    for (let index = 0; index < running.length; index++) {
      const numLeft = running[index]!.numTokens - running[index]!.numComputedTokens
      if (numLeft === 1) numStreams += 1
      else numPromptTokens += numLeft
    }
    // Beside streams prompts get about half of each step.
    const slowdown = numStreams > 0 ? 2 : 1
    const promptMs = numPromptTokens * this.#model.tokenMs * slowdown
    const hasFreePlace = running.length < maxNumSeqs
    return Math.max(promptMs, hasFreePlace ? 0 : (numWaiting + 1) * this.#endIntervalMs)
  }
}

/**
 * Whoever is told at once can go elsewhere, and the others are spared a wait that would be for nothing.
 *
 * @throws ENGINE_QUEUE_TOO_LONG
 */
export function refuseLongWait(predictedMs: number, maxQueueMs: number): void {
  const waitMs = Math.ceil(predictedMs)
  if (waitMs <= maxQueueMs) return
  const retryAfterSeconds = retryAfter(waitMs - maxQueueMs)
  const details = { waitMs, maxQueueMs, retryAfterSeconds }
  throw engineError('ENGINE_QUEUE_TOO_LONG', { param: 'maxQueueMs', retryAfterSeconds, details })
}

/** For one that waited as long as it was willing to. */
export function queueTimeout(waitedMs: number, predictedMs: number): ServingError {
  const retryAfterSeconds = retryAfter(predictedMs)
  const details = { waitedMs: Math.round(waitedMs), retryAfterSeconds }
  return engineError('ENGINE_QUEUE_TIMEOUT', { retryAfterSeconds, details })
}

/** Whole seconds, 1 … 600. */
function retryAfter(ms: number): number {
  return Math.min(600, Math.max(1, Math.ceil(ms / 1000)))
}
