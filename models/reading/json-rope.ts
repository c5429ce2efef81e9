/**
 * Rotary positions as `config.json` describes them: `rope_parameters`, or `rope_theta` and `rope_scaling` of older files.
 * Every type becomes a divisor for each frequency, so that whoever builds a graph knows none of them.
 *
 *   default   nothing
 *   linear    all by `factor`
 *   dynamic   nothing within `max_position_embeddings`, which is as far as a context goes here
 *   llama3    long wavelengths by `factor`, short ones not, a ramp between
 *   yarn      the same by number of rotations, and cosine and sine times a magnitude
 *   longrope  each by its `short_factor`, and a magnitude; see `longropeMagnitude` of `rope-scaling.ts` for the long ones
 *
 * Source: transformers, `modeling_rope_utils.py`.
 */

import type { RopeSetting } from '../model-config.ts'
import { CONTEXT as CONTEXT_LENGTH, FACTOR } from './bounds.ts'
import type { ConfigKeys } from './config-keys.ts'
import { llama3Factors, longropeMagnitude, yarnFactors, yarnMagnitude } from './rope-scaling.ts'

const TYPES = 'default, linear, dynamic, llama3, yarn or longrope'
const CONTEXT = { ...CONTEXT_LENGTH, least: 1 }
const THETA = { least: 1, most: 1e12 }
const MAGNITUDE = { least: 0, most: 1 << 20 }

export interface RopeGeometry {
  readonly headDim: number
  readonly maxContextTokens: number
  /** When no key says one. */
  readonly defaultTheta: number
  readonly style?: RopeSetting['style']
  /** Of `partial_rotary_factor`; absent = the architecture rotates whole heads and the key may only say so. */
  readonly defaultPartial?: number
  /** `original_max_position_embeddings` beside `rope_parameters`, which goes before the one in them. */
  readonly originalContext?: number
  /** Types that this architecture's older files call otherwise. */
  readonly typeNames?: Readonly<Record<string, string>>
}

export interface ReadRope {
  readonly rope: RopeSetting
  /** As far as the frequencies are those of the checkpoint; at most the geometry's. */
  readonly maxContextTokens: number
}

/** @throws ServingError MODEL_BAD_METADATA, MODEL_UNSUPPORTED_FEATURE */
export function readJsonRope(keys: ConfigKeys, geometry: RopeGeometry): ReadRope {
  const modern = keys.child('rope_parameters')
  const older = keys.child('rope_scaling')
  if (modern !== null && older !== null) {
    throw keys.unsupported('rope_scaling', 'given beside rope_parameters', 'one of the two')
  }
  const defaultTheta = keys.number('rope_theta', THETA, geometry.defaultTheta)
  const partial = readPartial(keys, geometry.defaultPartial)
  const inner = {
    ...geometry,
    defaultTheta,
    ...(partial === null ? {} : { defaultPartial: partial }),
  }
  const parameters = modern ?? older
  if (parameters !== null) return ropeOf(parameters, inner)
  const rotaryDim = rotaryDimOf(keys, inner.headDim, partial)
  return {
    rope: plainRope(defaultTheta, rotaryDim, inner),
    maxContextTokens: geometry.maxContextTokens,
  }
}

/** From the object that holds the parameters of one setting; refuses what else is in it. */
export function ropeOf(keys: ConfigKeys, geometry: RopeGeometry): ReadRope {
  const theta = keys.number('rope_theta', THETA, geometry.defaultTheta)
  const partial = readPartial(keys, geometry.defaultPartial)
  const rotaryDim = rotaryDimOf(keys, geometry.headDim, partial)
  const plain = plainRope(theta, rotaryDim, geometry)
  const scaled = scaledRope(keys, plain, geometry)
  keys.refuseUnread([])
  return scaled
}

function plainRope(
  theta: number,
  rotaryDim: number,
  { style = 'half' }: RopeGeometry,
): RopeSetting {
  return {
    theta,
    rotaryDim,
    style,
    linearFactor: 1,
    factorsTensor: null,
    factors: null,
    magnitude: 1,
  }
}

function scaledRope(keys: ConfigKeys, rope: RopeSetting, geometry: RopeGeometry): ReadRope {
  const { maxContextTokens } = geometry
  const named = keys.text('rope_type', keys.text('type', 'default'))
  keys.neutral('type', [named])
  const type = geometry.typeNames?.[named] ?? named
  const originalContext = () => {
    const inside = keys.integer('original_max_position_embeddings', CONTEXT, maxContextTokens)
    return geometry.originalContext ?? inside
  }
  switch (type) {
    case 'default':
      // Phi's files say it whether anything is scaled or not.
      if (geometry.originalContext !== undefined) originalContext()
      return { rope, maxContextTokens }
    case 'linear':
      return { rope: { ...rope, linearFactor: keys.number('factor', FACTOR) }, maxContextTokens }
    case 'dynamic':
      keys.number('factor', FACTOR)
      return { rope, maxContextTokens }
    case 'llama3': {
      const low = keys.number('low_freq_factor', FACTOR)
      const high = keys.number('high_freq_factor', FACTOR)
      if (high <= low) throw keys.unsupported('high_freq_factor', high, `above ${low}`)
      const factor = keys.number('factor', FACTOR)
      const factors = llama3Factors(rope, { factor, low, high, context: originalContext() })
      return { rope: { ...rope, factors }, maxContextTokens }
    }
    case 'yarn':
      return { rope: readYarn(keys, rope, originalContext(), maxContextTokens), maxContextTokens }
    case 'longrope':
      return readLongrope(keys, rope, originalContext(), maxContextTokens)
    default:
      throw keys.unsupported('rope_type', named, TYPES)
  }
}

function readYarn(
  keys: ConfigKeys,
  rope: RopeSetting,
  context: number,
  maxContextTokens: number,
): RopeSetting {
  const factor = keys.number('factor', FACTOR, maxContextTokens / context)
  const isTruncated = keys.flag('truncate', true)
  if (rope.theta === 1) throw keys.unsupported('rope_theta', rope.theta, 'above 1')
  const fast = keys.number('beta_fast', FACTOR, 32)
  const slow = keys.number('beta_slow', FACTOR, 1)
  const factors = yarnFactors(rope, { factor, context, fast, slow, isTruncated })
  const stated = keys.number('attention_factor', MAGNITUDE, 0)
  const mscale = keys.number('mscale', MAGNITUDE, 0)
  const mscaleAllDim = keys.number('mscale_all_dim', MAGNITUDE, 0)
  const magnitude = stated === 0 ? yarnMagnitude(factor, mscale, mscaleAllDim) : stated
  return { ...rope, factors, magnitude }
}

function readLongrope(
  keys: ConfigKeys,
  rope: RopeSetting,
  context: number,
  maxContextTokens: number,
): ReadRope {
  const numPairs = rope.rotaryDim / 2
  const factors = keys.numbers('short_factor', FACTOR, numPairs)
  keys.numbers('long_factor', FACTOR, numPairs)
  const factor = keys.number('factor', FACTOR, maxContextTokens / context)
  const stated = keys.number('attention_factor', MAGNITUDE, 0)
  const magnitude = stated === 0 ? longropeMagnitude(factor, context) : stated
  return {
    rope: { ...rope, factors, magnitude },
    maxContextTokens: Math.min(maxContextTokens, context),
  }
}

/** `null` = whole heads. */
function readPartial(keys: ConfigKeys, fallback: number | undefined): number | null {
  if (fallback !== undefined) {
    return keys.number('partial_rotary_factor', { least: 0, most: 1 }, fallback)
  }
  keys.neutral('partial_rotary_factor', [1])
  return null
}

function rotaryDimOf(keys: ConfigKeys, headDim: number, partial: number | null): number {
  if (partial === null) return headDim
  const rotaryDim = Math.floor(headDim * partial)
  if (rotaryDim >= 2 && rotaryDim % 2 === 0) return rotaryDim
  throw keys.unsupported('partial_rotary_factor', partial, `an even part of ${headDim}`)
}
