/** What sizes may be at all: products of them stay within 2^53, and all lie far above any published model. */

import type { NumberRange } from './config-keys.ts'

export const SIZE: NumberRange = { least: 1, most: 1 << 20 }
export const COUNT: NumberRange = { least: 1, most: 4096 }
export const VOCABULARY: NumberRange = { least: 1, most: 1 << 24 }
export const CONTEXT: NumberRange = { least: 2, most: 1 << 27 }
export const EPSILON: NumberRange = { least: 0, most: 1 }
/** Multipliers, divisors and soft caps; none may turn everything to nothing. */
export const FACTOR: NumberRange = { least: 1e-6, most: 1 << 20 }
