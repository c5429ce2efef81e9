/**
 * The formulas by which rotary frequencies are stretched to longer contexts: a divisor for each frequency, and a factor
 * for cosine and sine. Owns nothing; reads no configuration.
 *
 * Source: transformers, `modeling_rope_utils.py`; YaRN, arXiv:2309.00071; LongRoPE, arXiv:2402.13753.
 */

interface Frequencies {
  readonly theta: number
  /** Even. */
  readonly rotaryDim: number
}

export interface Llama3Scaling {
  readonly factor: number
  readonly low: number
  /** Above `low`. */
  readonly high: number
  readonly context: number
}

/** [rotaryDim / 2]; smooth between the wavelengths of the two frequency factors. */
export function llama3Factors(
  { theta, rotaryDim }: Frequencies,
  { factor, low, high, context }: Llama3Scaling,
): readonly number[] {
  return Array.from({ length: rotaryDim / 2 }, (_, pair) => {
    const rotations = (context * theta ** ((-2 * pair) / rotaryDim)) / (2 * Math.PI)
    if (rotations < low) return factor
    if (rotations > high) return 1
    const smooth = (rotations - low) / (high - low)
    return 1 / ((1 - smooth) / factor + smooth)
  })
}

export interface YarnScaling {
  readonly factor: number
  readonly context: number
  /** Rotations within the context from which on nothing is stretched. */
  readonly fast: number
  /** Rotations up to which all is. */
  readonly slow: number
  /** Whether the ramp begins and ends at whole pairs. */
  readonly isTruncated: boolean
}

/** [rotaryDim / 2]; `theta` is above 1. */
export function yarnFactors(
  { theta, rotaryDim }: Frequencies,
  { factor, context, fast, slow, isTruncated }: YarnScaling,
): readonly number[] {
  /** Which pair turns so many times within the original context; not whole. */
  const pairOf = (rotations: number): number =>
    (rotaryDim * Math.log(context / (rotations * 2 * Math.PI))) / (2 * Math.log(theta))
  const first = pairOf(fast)
  const last = pairOf(slow)
  const low = Math.max(isTruncated ? Math.floor(first) : first, 0)
  const high = Math.min(isTruncated ? Math.ceil(last) : last, rotaryDim - 1)
  // Upstream's own way around a ramp without length.
  const length = high === low ? 0.001 : high - low
  return Array.from({ length: rotaryDim / 2 }, (_, pair) => {
    const ramp = Math.min(1, Math.max(0, (pair - low) / length))
    return 1 / (ramp / factor + (1 - ramp))
  })
}

/** @param mscale, mscaleAllDim - 0 = not stated */
export function yarnMagnitude(factor: number, mscale: number, mscaleAllDim: number): number {
  const magnitude = (scale: number): number =>
    factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1
  const isScaled = mscale !== 0 && mscaleAllDim !== 0
  return isScaled ? magnitude(mscale) / magnitude(mscaleAllDim) : magnitude(1)
}

/**
 * LongRoPE has two divisors for each frequency: short ones for sequences within the original context, long ones for
 * longer sequences, all their earlier tokens included. What is cached of a token then depends on how long its sequence
 * will become, which no cache can know; so the short ones are used, and a context ends where they do.
 */
export function longropeMagnitude(factor: number, context: number): number {
  return factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(context))
}
