/**
 * What somebody wants weights to be computed in. Plain data that crosses rooms and processes: the configuration checks
 * it, the graph turns it into a format for each tensor. Knows no model.
 */

export type WeightFormat = 'source' | 'f32' | 'bf16' | 'f16' | 'int8' | 'int4'

export const WEIGHT_FORMATS: readonly WeightFormat[] = [
  'source',
  'f32',
  'bf16',
  'f16',
  'int8',
  'int4',
]

/** Weights along a row that share a scale; `channel` = the whole row, one output channel. */
export type WeightGroup = 32 | 64 | 128 | 'channel'
export type WeightSymmetry = 'symmetric' | 'asymmetric'

/** `*` in the pattern stands for any text, `?` for one character. */
export interface WeightOverride {
  readonly pattern: string
  readonly format: WeightFormat
}

/** `null` = decided for each model, with a reason. */
export interface WeightsChoice {
  readonly format: WeightFormat
  readonly head: WeightFormat | null
  readonly embedding: WeightFormat | null
  readonly group: WeightGroup | null
  readonly symmetry: WeightSymmetry | null
  /** The last one that matches a tensor's name wins. */
  readonly overrides: readonly WeightOverride[]
}

/** Everything as the checkpoint stores it. */
export const SOURCE_WEIGHTS: WeightsChoice = {
  format: 'source',
  head: null,
  embedding: null,
  group: null,
  symmetry: null,
  overrides: [],
}

/** `model.layers.0.*=bf16`; `undefined` when it is none. */
export function parseWeightOverride(text: string): WeightOverride | undefined {
  const at = text.lastIndexOf('=')
  const pattern = text.slice(0, Math.max(at, 0)).trim()
  const format = WEIGHT_FORMATS.find((known) => known === text.slice(at + 1).trim())
  return pattern === '' || format === undefined ? undefined : { pattern, format }
}

export function matchesPattern(pattern: string, name: string): boolean {
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.')
  return new RegExp(`^${source}$`, 's').test(name)
}
