/**
 * The few numbers that an exported decoder's configuration adds to its graph: context, vocabulary, heads, end tokens.
 * Two sources, one shape. Where graph and configuration both say a number, they must agree.
 */

import type { MetadataValue } from '../checkpoint.ts'
import { exportError } from '../errors.ts'
import type { DecoderSignature } from './decoder-signature.ts'
import type { ExportedSizes } from './exported-decoder.ts'

type Table = ReadonlyMap<string, MetadataValue>

/** Keys of one number, tried in this order. */
export interface ConfigKeys {
  readonly context: readonly string[]
  readonly numLayers: readonly string[]
  readonly numHeads: readonly string[]
  readonly numKvHeads: readonly string[]
  readonly headDim: readonly string[]
  readonly hiddenSize: readonly string[]
  readonly intermediateSize: readonly string[]
}

export const HF_KEYS: ConfigKeys = {
  context: ['max_position_embeddings', 'n_positions', 'n_ctx', 'max_sequence_length'],
  numLayers: ['num_hidden_layers', 'n_layer', 'num_layers'],
  numHeads: ['num_attention_heads', 'n_head', 'num_heads'],
  numKvHeads: ['num_key_value_heads'],
  headDim: ['head_dim'],
  hiddenSize: ['hidden_size', 'n_embd', 'd_model'],
  intermediateSize: ['intermediate_size', 'n_inner', 'ffn_dim'],
}

export const GENAI_KEYS: ConfigKeys = {
  ...HF_KEYS,
  context: ['context_length'],
  headDim: ['head_size'],
  intermediateSize: [],
}

const MOST = 2 ** 31 - 1

/** Reads numbers out of one configuration file. */
export class ConfigNumbers {
  readonly #file: string
  /** The inner table goes before the outer one. */
  readonly #tables: readonly Table[]

  constructor(file: string, tables: readonly Table[]) {
    this.#file = file
    this.#tables = tables
  }

  /** @throws ServingError CHECKPOINT_UNSUPPORTED_EXPORT for a value that is no count */
  optional(keys: readonly string[]): number | null {
    for (const table of this.#tables) {
      for (const key of keys) {
        const value = table.get(key)
        if (value === undefined || value === null) continue
        if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= MOST) {
          return value
        }
        throw this.bad(key, `a whole number from 1 to ${MOST}`, value)
      }
    }
    return null
  }

  required(keys: readonly string[]): number {
    const value = this.optional(keys)
    if (value !== null) return value
    throw this.bad(keys[0] ?? '', `a whole number from 1 to ${MOST}`, undefined)
  }

  bad(field: string, expected: string, got: MetadataValue | undefined): Error {
    const shown = got === undefined ? 'no such key' : String(got).slice(0, 100)
    const next = 'fetch the file again, or export the model anew'
    return exportError({ file: this.#file, field, expected, got: shown, next })
  }

  /** Ascending, each once. */
  tokenIds(key: string, vocabSize: number): readonly number[] {
    for (const table of this.#tables) {
      const value = table.get(key)
      if (value === undefined || value === null) continue
      const ids: readonly MetadataValue[] = Array.isArray(value) ? value : [value as number]
      for (const id of ids) {
        const isId = typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < vocabSize
        if (!isId) throw this.bad(key, `token ids of 0 to ${vocabSize - 1}`, id)
      }
      return [...new Set(ids as readonly number[])].sort((a, b) => a - b)
    }
    return []
  }
}

/** @throws ServingError CHECKPOINT_UNSUPPORTED_EXPORT when a number is missing or graph and configuration disagree */
export function readSizes(
  numbers: ConfigNumbers,
  keys: ConfigKeys,
  signature: DecoderSignature,
): ExportedSizes {
  const numHeads = numbers.optional(keys.numHeads)
  const hiddenSize = numbers.optional(keys.hiddenSize)
  const numLayers = numbers.optional(keys.numLayers)
  if (numLayers !== null && numLayers !== signature.numLayers) {
    throw numbers.bad('the layers', `${signature.numLayers}, as the graph has`, numLayers)
  }
  const statedKvHeads = numbers.optional(keys.numKvHeads)
  const stated = numbers.optional(keys.headDim)
  const derived = hiddenSize !== null && numHeads !== null ? hiddenSize / numHeads : null
  const headDim = signature.headDim ?? stated ?? derived
  const numKvHeads = signature.numKvHeads ?? statedKvHeads ?? numHeads
  if (headDim === null || !Number.isInteger(headDim)) {
    throw numbers.bad(keys.headDim[0] ?? '', 'the width of a head', headDim ?? undefined)
  }
  if (numKvHeads === null) throw numbers.bad('num_key_value_heads', 'a count', undefined)
  if (stated !== null && stated !== headDim) {
    throw numbers.bad(keys.headDim[0] ?? '', `${headDim}, as the graph has`, stated)
  }
  return {
    vocabSize: signature.vocabSize ?? numbers.required(['vocab_size']),
    maxContextTokens: numbers.required(keys.context),
    numKvHeads,
    headDim,
    hiddenSize,
    numHeads,
    intermediateSize: numbers.optional(keys.intermediateSize),
  }
}
