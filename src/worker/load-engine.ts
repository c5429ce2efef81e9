/**
 * From a checkpoint's path to an engine that steps: open → executor → engine.
 * Runs in the engine process (and in tests, in theirs). Owns nothing once it has returned.
 */

import { type Clock, systemClock } from '../base/clock.ts'
import { openCheckpoint } from '../checkpoint/open-checkpoint.ts'
import { EngineCore } from '../engine/engine-core.ts'
import type { OpenedExecutor } from '../execution/executor-facts.ts'
import type { DiskTier } from '../execution/kv-disk/disk-tier.ts'
import { openDiskTier } from '../execution/kv-disk/open-disk-tier.ts'
import type { EngineDescription, EngineOptions } from './messages.ts'
import { openExecutor } from './open-executor.ts'

export interface LoadedEngine {
  readonly core: EngineCore
  readonly executor: OpenedExecutor
  /** To be closed after the engine's last step, before the executor. */
  readonly tier: DiskTier | null
  readonly description: EngineDescription
}

/** `fraction` is of the stage, 0 … 1. */
export type OnProgress = (stage: 'checkpoint' | 'weights' | 'session', fraction: number) => void

/**
 * @param options - `maxContextTokens` above what the checkpoint allows is lowered to it
 * @param onWarning - hears, in words for people, why packed weights were not kept or not used
 * @throws ServingError of the checkpoint, models, graph, execution and native rooms
 *
 * Cost: reads and packs all weights; some seconds for a large checkpoint.
 */
export async function loadEngine(
  options: EngineOptions,
  onProgress: OnProgress = () => {},
  clock: Clock = systemClock,
  onWarning: (message: string) => void = () => {},
): Promise<LoadedEngine> {
  const startMs = clock.nowMs()
  onProgress('checkpoint', 0)
  const checkpoint = await openCheckpoint(options.checkpointPath)
  onProgress('weights', 0)
  const { executor, modelType, maxContextTokens } = await openExecutor(checkpoint, options, {
    onProgress: (fraction) => onProgress('weights', fraction),
    onWarning,
  })
  try {
    const { eosTokenIds } = options
    const limits = { maxContextTokens, eosTokenIds }
    const { scheduling } = options
    const tier = await openDiskTier(options, executor, clock, onWarning)
    const hashKey = secretWords()
    const core = new EngineCore({ executor, clock, ...limits, scheduling, hashKey, tier })
    onProgress('session', 1)
    const { numBlocks, blockSize, vocabSize } = executor.limits
    const sizes = { vocabSize, maxContextTokens, numBlocks, blockSize }
    const loadMs = clock.nowMs() - startMs
    const blocksThread = !executor.capabilities.answersWhileComputing
    const description = { modelType, ...sizes, ...executor.facts, blocksThread, loadMs }
    return { core, executor, tier, description }
  } catch (cause) {
    await executor.close()
    throw cause
  }
}

/** Nobody outside can know which blocks share a bucket of the prefix cache. */
function secretWords(): [number, number] {
  const words = crypto.getRandomValues(new Int32Array(2))
  return [words[0] as number, words[1] as number]
}
