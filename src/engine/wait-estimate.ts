/**
 * How long a sequence that came now would wait to be let in: until the prompts before it are computed, and while every
 * place is taken, until as many sequences have ended as are before it. A guess for refusals and `Retry-After`, from the
 * step-cost model and the recent pace of ends; it need not be right, only honest.
 */

import type { StepCostModel } from './step-cost-model.ts'

/** Ends in a row that the pace is an average of, about. */
const PACE_ENDS = 32

export interface Backlog {
  readonly numWaiting: number
  /** Known tokens of all that wait, and what running prompts still have to compute. */
  readonly numPromptTokens: number
  /** Decode rows of a step, which each step computes besides prompts. */
  readonly numStreams: number
  readonly hasFreePlace: boolean
}

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

  waitMs({ numWaiting, numPromptTokens, numStreams, hasFreePlace }: Backlog): number {
    // Beside streams prompts get about half of each step.
    const slowdown = numStreams > 0 ? 2 : 1
    const promptMs = numPromptTokens * this.#model.tokenMs * slowdown
    if (hasFreePlace && numWaiting === 0) return promptMs
    const placeMs = hasFreePlace ? 0 : (numWaiting + 1) * this.#endIntervalMs
    return Math.max(promptMs, placeMs)
  }
}
