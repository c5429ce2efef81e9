/** Which layers of the Qwen family have a window. Source: transformers, `Qwen2Config` and those made after it. */

import type { LayerConfig } from '../model-config.ts'
import type { ConfigKeys } from './config-keys.ts'
import { readJsonWindow, readLayerTypes, windowedLayers } from './layer-kinds.ts'

/** `sliding_window` counts only with `use_sliding_window`, and then from layer `max_window_layers` on. */
export function readQwenLayers(keys: ConfigKeys, numLayers: number): readonly LayerConfig[] {
  const isUsed = keys.flag('use_sliding_window', false)
  const firstSliding = keys.integer('max_window_layers', { least: 0, most: 4096 }, 28)
  if (!isUsed) keys.ignore('sliding_window')
  const window = isUsed ? readJsonWindow(keys, 4096) : null
  const slides = readLayerTypes(
    keys,
    numLayers,
    (layer) => window !== null && layer >= firstSliding,
  )
  return windowedLayers(keys, slides, window)
}
