/**
 * Which layers see all keys and which only a window of them, as `config.json` and GGUF keys say it.
 *
 * Source: transformers, `layer_types` of its configuration classes; llama.cpp, `load_swa_pattern`.
 */

import type { LayerConfig } from '../model-config.ts'
import { CONTEXT } from './bounds.ts'
import type { ConfigKeys } from './config-keys.ts'

const WINDOW = { ...CONTEXT, least: 1 }

/** `true` for a layer with a window. */
export type SlidingLayers = readonly boolean[]

/** @param rule - whether a layer has a window, when `layer_types` is absent */
export function readLayerTypes(
  keys: ConfigKeys,
  numLayers: number,
  rule: (layer: number) => boolean,
): SlidingLayers {
  const types = keys.texts('layer_types', ['full_attention', 'sliding_attention'])
  if (types === null) return Array.from({ length: numLayers }, (_, layer) => rule(layer))
  if (types.length === numLayers) return types.map((type) => type === 'sliding_attention')
  throw keys.bad('layer_types', `${numLayers} texts`, types)
}

/** A window of all layers, or of none. @param fallback - when the member is absent; `null` is none */
export function readJsonWindow(keys: ConfigKeys, fallback: number | null): number | null {
  if (keys.isNull('sliding_window')) return null
  if (fallback === null && !keys.has('sliding_window')) return null
  return keys.integer('sliding_window', WINDOW, fallback ?? undefined)
}

/** Of layers that all have the first rope setting. */
export function windowedLayers(
  keys: ConfigKeys,
  slides: SlidingLayers,
  window: number | null,
): readonly LayerConfig[] {
  if (window === null && slides.includes(true)) {
    throw keys.unsupported('sliding_window', 'absent', 'a number of tokens for sliding layers')
  }
  return slides.map((isSliding) => ({ rope: 0, window: isSliding ? window : null }))
}

/** GGUF's window; 0 and absent are none. */
export function readGgufWindow(keys: ConfigKeys, fallback = 0): number | null {
  const range = { ...WINDOW, least: 0 }
  return keys.integer('attention.sliding_window', range, fallback) || null
}

/**
 * GGUF's pattern: a truth value for each layer, or every how many layers one sees all keys.
 *
 * @param fallback - the same number when the key is absent
 */
export function readGgufPattern(
  keys: ConfigKeys,
  numLayers: number,
  fallback: number,
): SlidingLayers {
  const key = 'attention.sliding_window_pattern'
  const stated = keys.flags(key, numLayers)
  if (stated !== null) return stated
  const every = keys.integer(key, { least: 1, most: 4096 }, fallback)
  return everyNth(numLayers, every)
}

/** All layers slide but each `every`-th. */
export function everyNth(numLayers: number, every: number): SlidingLayers {
  return Array.from({ length: numLayers }, (_, layer) => (layer + 1) % every !== 0)
}
