/**
 * How far one row of logits is from another: the mathematics of `ingot bench quality`, in double precision. Pure.
 *
 *   KL(p ‖ q) = Σ p · (log p − log q) over the whole vocabulary, p of the reference
 */

export interface RowDivergence {
  /** Nats. */
  readonly kl: number
  readonly isSameTop: boolean
  /** −log q of the token that came next. */
  readonly loss: number
}

/** Both are rows of `size` raw logits; `next` is the token that the text goes on with. */
export function compareRow(
  reference: Float32Array,
  other: Float32Array,
  next: number,
): RowDivergence {
  const p = normalizer(reference)
  const q = normalizer(other)
  let kl = 0
  for (let id = 0; id < reference.length; id++) {
    const logP = (reference[id] ?? 0) - p.logSum
    kl += Math.exp(logP) * (logP - ((other[id] ?? 0) - q.logSum))
  }
  // Rounding can take a sum of zeros below zero.
  return {
    kl: Math.max(0, kl),
    isSameTop: p.top === q.top,
    loss: q.logSum - (other[next] ?? 0),
  }
}

/** Loss of one row alone. */
export function lossOf(row: Float32Array, next: number): number {
  return normalizer(row).logSum - (row[next] ?? 0)
}

function normalizer(row: Float32Array): { logSum: number; top: number } {
  let top = 0
  for (let id = 1; id < row.length; id++) if ((row[id] ?? 0) > (row[top] ?? 0)) top = id
  const most = row[top] ?? 0
  let sum = 0
  for (let id = 0; id < row.length; id++) sum += Math.exp((row[id] ?? 0) - most)
  return { logSum: most + Math.log(sum), top }
}

/** By rank, as vLLM's and numpy's `nearest`: of sorted values the one at `share` of the way, 0 … 1. */
export function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.round(share * (sorted.length - 1))] ?? 0
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length)
}

/** Of the mean, as if the values were independent; 0 of fewer than two. */
export function standardError(values: readonly number[]): number {
  if (values.length < 2) return 0
  const middle = mean(values)
  const squares = values.reduce((sum, value) => sum + (value - middle) ** 2, 0)
  return Math.sqrt(squares / (values.length - 1) / values.length)
}
