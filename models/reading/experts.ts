/**
 * What configurations say of a mixture of experts under the names that most architectures share. Each architecture adds
 * how its router scores.
 */

import type { LayerConfig } from '../model-config.ts'
import { COUNT, SIZE } from './bounds.ts'
import type { ConfigKeys, NumberRange } from './config-keys.ts'

const LAYER: NumberRange = { least: 0, most: 4096 }

/** The number of experts, under any of the names that versions of transformers gave it; they must agree. */
export function readJsonExpertCount(
  keys: ConfigKeys,
  names: readonly string[],
  fallback: number,
): number {
  const stated = names.filter((name) => keys.has(name)).map((name) => keys.integer(name, COUNT))
  const [first = fallback] = stated
  for (const [index, count] of stated.entries()) {
    if (count !== first) throw keys.bad(names[index] ?? '', `${first}, as elsewhere`, count)
  }
  return first
}

/** @param key - of the number of experts a row goes through */
export function readTopK(
  keys: ConfigKeys,
  key: string,
  numExperts: number,
  fallback?: number,
): number {
  return keys.integer(key, { least: 1, most: numExperts }, fallback)
}

/** Qwen's: each `decoder_sparse_step`-th layer has experts, unless `mlp_only_layers` lists it. */
export function withQwenDenseLayers(
  keys: ConfigKeys,
  layers: readonly LayerConfig[],
): readonly LayerConfig[] {
  const step = keys.integer('decoder_sparse_step', COUNT, 1)
  const dense = keys.integers('mlp_only_layers', LAYER) ?? []
  return layers.map((layer, index) => ({
    ...layer,
    isDense: dense.includes(index) || (index + 1) % step !== 0,
  }))
}

export interface ExpertSizes {
  readonly numExperts: number
  readonly topK: number
  readonly size: number
}

/** @param size - the inner width when its own key is absent */
export function readGgufExperts(keys: ConfigKeys, size: number): ExpertSizes {
  const numExperts = keys.integer('expert_count', COUNT)
  return {
    numExperts,
    topK: readTopK(keys, 'expert_used_count', numExperts),
    size: keys.integer('expert_feed_forward_length', SIZE, size),
  }
}
