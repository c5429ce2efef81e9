/**
 * Inverse frequencies of rotary position embedding. Owns nothing.
 *
 * frequency[i] = theta^(-2 i / rotaryDim) / linearFactor / factors[i], computed in f64 and rounded once.
 * Source: RoFormer, arXiv:2104.09864; linear scaling: kaiokendev, arXiv:2306.15595; factors: ggml `rope_freqs.weight`.
 */

import { invariant } from '../../src/base/errors.ts'

export interface RopeFrequencyOptions {
  readonly theta: number
  /** Even. */
  readonly rotaryDim: number
  readonly linearFactor: number
  /** [rotaryDim / 2], or `null`. */
  readonly factors: ArrayLike<number> | null
}

export function ropeFrequencies(options: RopeFrequencyOptions): Float32Array {
  const { theta, rotaryDim, linearFactor, factors } = options
  const numPairs = rotaryDim / 2
  invariant(
    factors === null || factors.length === numPairs,
    'R1',
    'there is one rope factor a rotated pair',
  )
  const frequencies = new Float32Array(numPairs)
  for (let pair = 0; pair < numPairs; pair++) {
    const divisor = linearFactor * (factors?.[pair] ?? 1)
    frequencies[pair] = theta ** ((-2 * pair) / rotaryDim) / divisor
  }
  return frequencies
}
