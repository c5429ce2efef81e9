/** The reference of ../shared/golden, where it is present, and how far logits are from it. */

import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export interface GoldenCase {
  readonly id: string
  readonly rendered: string
  readonly greedy_text: string
  readonly prompt_ids: readonly number[]
  /** Of prompt tokens from position 1 on. */
  readonly prompt_logprobs: readonly number[]
  readonly greedy_ids: readonly number[]
  /** Most likely tokens at each step along `greedy_ids`, best first. */
  readonly top5: readonly (readonly (readonly [id: number, logprob: number])[])[]
}

export interface Golden {
  readonly model: string
  readonly reference: string
  readonly cases: readonly GoldenCase[]
}

/** `undefined` when the data is not beside this checkout. */
export function readGolden(name: string): Golden | undefined {
  const path = fileURLToPath(new URL(`../../../shared/golden/${name}`, import.meta.url))
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Golden) : undefined
}

/** Log-softmax of one row of logits, summed in f64. */
export function logSoftmax(logits: Float32Array): Float32Array {
  let largest = Number.NEGATIVE_INFINITY
  for (const logit of logits) largest = Math.max(largest, logit)
  let sum = 0
  for (const logit of logits) sum += Math.exp(logit - largest)
  const logSum = largest + Math.log(sum)
  return Float32Array.from(logits, (logit) => logit - logSum)
}

export function argmax(values: ArrayLike<number>): number {
  let best = 0
  for (let index = 1; index < values.length; index++) {
    if (values[index]! > values[best]!) best = index
  }
  return best
}

/** KL(p ‖ q) over the whole vocabulary, from log-probabilities. */
export function klOf(p: Float32Array, q: Float32Array): number {
  let total = 0
  for (let id = 0; id < p.length; id++) total += Math.exp(p[id]!) * (p[id]! - q[id]!)
  return total
}

/**
 * KL of the reference to ours, of what the reference tells: five tokens and, in `bucketed`, the rest as one more
 * outcome. `bucketed` can only be smaller than over the whole vocabulary; `renormalised` ignores the rest.
 */
export function klOfTop(
  top: readonly (readonly [id: number, logprob: number])[],
  ours: Float32Array,
): { renormalised: number; bucketed: number } {
  const p = top.map(([, logprob]) => Math.exp(logprob))
  const q = top.map(([id]) => Math.exp(ours[id]!))
  const pTop = sum(p)
  const qTop = sum(q)
  const pRest = Math.max(0, 1 - pTop)
  const rest = pRest < 1e-9 ? 0 : pRest * Math.log(pRest / Math.max(1e-12, 1 - qTop))
  const inner = sum(p.map((value, index) => value * Math.log(value / q[index]!)))
  const renormalised = inner / pTop - Math.log(pTop / qTop)
  return { renormalised, bucketed: inner + rest }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
