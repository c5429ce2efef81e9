/**
 * Rotary positions as `config.json` describes them: `rope_parameters`, or `rope_theta` and `rope_scaling` of older files.
 * Every type becomes a divisor for each frequency, so that whoever builds a graph knows none of them.
 *
 *   default   nothing
 *   linear    all by `factor`
 *   dynamic   nothing within `max_position_embeddings`, which is as far as a context goes here
 *   llama3    long wavelengths by `factor`, short ones not, a ramp between
 *   yarn      the same by number of rotations, and cosine and sine times a magnitude
 *
 * Source: transformers, `modeling_rope_utils.py`; YaRN, arXiv:2309.00071.
 */

import type { ConfigKeys } from './config-keys.ts'
import type { RopeScaling } from './model-config.ts'

const TYPES = 'default, linear, dynamic, llama3 or yarn'
const FACTOR = { least: 1e-6, most: 1 << 20 }
const THETA = { least: 1, most: 1e12 }
const CONTEXT = { least: 1, most: 1 << 27 }

export interface RopeGeometry {
  /** Even. */
  readonly rotaryDim: number
  readonly maxContextTokens: number
  /** When no key says one. */
  readonly defaultTheta: number
}

export interface RopeParameters {
  readonly theta: number
  readonly scaling: RopeScaling
}

/** @throws ServingError MODEL_BAD_METADATA, MODEL_UNSUPPORTED_FEATURE */
export function readRopeParameters(keys: ConfigKeys, geometry: RopeGeometry): RopeParameters {
  const modern = keys.child('rope_parameters')
  const older = keys.child('rope_scaling')
  if (modern !== null && older !== null) {
    throw keys.unsupported('rope_scaling', 'given beside rope_parameters', 'one of the two')
  }
  const parameters = modern ?? older
  const topTheta = keys.number('rope_theta', THETA, geometry.defaultTheta)
  keys.neutral('partial_rotary_factor', [1])
  if (parameters === null) return { theta: topTheta, scaling: NONE }
  const theta = parameters.number('rope_theta', THETA, topTheta)
  parameters.neutral('partial_rotary_factor', [1])
  const scaling = readScaling(parameters, theta, geometry)
  parameters.refuseUnread([])
  return { theta, scaling }
}

const NONE: RopeScaling = { linearFactor: 1, factorsTensor: null }

function readScaling(keys: ConfigKeys, theta: number, geometry: RopeGeometry): RopeScaling {
  const type = keys.text('rope_type', keys.text('type', 'default'))
  keys.neutral('type', [type])
  switch (type) {
    case 'default':
      return NONE
    case 'linear':
      return { ...NONE, linearFactor: keys.number('factor', FACTOR) }
    case 'dynamic':
      keys.number('factor', FACTOR)
      return NONE
    case 'llama3':
      return { ...NONE, factors: llama3Factors(keys, theta, geometry) }
    case 'yarn':
      return { ...NONE, ...yarn(keys, theta, geometry) }
    default:
      throw keys.unsupported('rope_type', type, TYPES)
  }
}

/** [rotaryDim / 2]; smooth between the wavelengths of the two frequency factors. */
function llama3Factors(
  keys: ConfigKeys,
  theta: number,
  { rotaryDim, maxContextTokens }: RopeGeometry,
): readonly number[] {
  const factor = keys.number('factor', FACTOR)
  const low = keys.number('low_freq_factor', FACTOR)
  const high = keys.number('high_freq_factor', FACTOR)
  const context = keys.integer('original_max_position_embeddings', CONTEXT, maxContextTokens)
  if (high <= low) throw keys.unsupported('high_freq_factor', high, `above ${low}`)
  return Array.from({ length: rotaryDim / 2 }, (_, pair) => {
    const rotations = (context * theta ** ((-2 * pair) / rotaryDim)) / (2 * Math.PI)
    if (rotations < low) return factor
    if (rotations > high) return 1
    const smooth = (rotations - low) / (high - low)
    return 1 / ((1 - smooth) / factor + smooth)
  })
}

function yarn(
  keys: ConfigKeys,
  theta: number,
  { rotaryDim, maxContextTokens }: RopeGeometry,
): { readonly factors: readonly number[]; readonly magnitude: number } {
  const context = keys.integer('original_max_position_embeddings', CONTEXT, maxContextTokens)
  const factor = keys.number('factor', FACTOR, maxContextTokens / context)
  const isTruncated = keys.flag('truncate', true)
  if (theta === 1) throw keys.unsupported('rope_theta', theta, 'above 1')
  /** Which pair turns so many times within the original context; not whole. */
  const pairOf = (rotations: number): number =>
    (rotaryDim * Math.log(context / (rotations * 2 * Math.PI))) / (2 * Math.log(theta))
  const fast = pairOf(keys.number('beta_fast', FACTOR, 32))
  const slow = pairOf(keys.number('beta_slow', FACTOR, 1))
  const low = Math.max(isTruncated ? Math.floor(fast) : fast, 0)
  const high = Math.min(isTruncated ? Math.ceil(slow) : slow, rotaryDim - 1)
  // Upstream's own way around a ramp without length.
  const length = high === low ? 0.001 : high - low
  const factors = Array.from({ length: rotaryDim / 2 }, (_, pair) => {
    const ramp = Math.min(1, Math.max(0, (pair - low) / length))
    return 1 / (ramp / factor + (1 - ramp))
  })
  return { factors, magnitude: yarnMagnitude(keys, factor) }
}

function yarnMagnitude(keys: ConfigKeys, factor: number): number {
  const range = { least: 0, most: 1 << 20 }
  const stated = keys.number('attention_factor', range, 0)
  const mscale = keys.number('mscale', range, 0)
  const mscaleAllDim = keys.number('mscale_all_dim', range, 0)
  if (stated !== 0) return stated
  const magnitude = (scale: number): number =>
    factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1
  const isScaled = mscale !== 0 && mscaleAllDim !== 0
  return isScaled ? magnitude(mscale) / magnitude(mscaleAllDim) : magnitude(1)
}
