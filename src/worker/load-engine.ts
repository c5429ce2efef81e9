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
import { loadAdapter } from './adapter-desk.ts'
import type { AdapterOutcome, EngineDescription, EngineOptions } from './messages.ts'
import { planDraftOpening } from './open-draft.ts'
import { type ExecutorOpening, openExecutor } from './open-executor.ts'

export interface LoadedEngine {
  readonly core: EngineCore
  readonly executor: OpenedExecutor
  readonly tier: DiskTier | null
  /** Of the draft model; null when there is none. */
  readonly draftExecutor: OpenedExecutor | null
  readonly description: EngineDescription
  /** Writes what the tier still holds, and closes all of it. Idempotent. */
  close(): Promise<void>
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
  const checkpoint = await openCheckpoint(options.checkpointPath, { skipsVocabulary: true })
  onProgress('weights', 0)
  const drafting = await planDraftOpening(checkpoint, options)
  const listeners = { onProgress: (part: number) => onProgress('weights', part), onWarning }
  const kvMemoryBytes = drafting?.kvMemoryBytes ?? options.kvMemoryBytes
  const opened = await openExecutor(checkpoint, { ...options, kvMemoryBytes }, listeners)
  const { executor, modelType, maxContextTokens } = opened
  let drafted: ExecutorOpening | null = null
  let tier: DiskTier | null = null
  const close = async (): Promise<void> => {
    await tier?.close()
    await drafted?.executor.close()
    await executor.close()
  }
  try {
    drafted = (await drafting?.open(listeners)) ?? null
    const { eosTokenIds, scheduling } = options
    const limits = { maxContextTokens, eosTokenIds }
    tier = await openDiskTier(options, executor, clock, onWarning)
    const core = new EngineCore({
      ...{ executor, clock, ...limits, scheduling, hashKey: secretWords(), tier },
      draft: drafted === null ? null : { ...drafted, onFailure: draftFailure(onWarning) },
    })
    onProgress('session', 1)
    const { numBlocks, blockSize, vocabSize } = executor.limits
    const sizes = { vocabSize, maxContextTokens, numBlocks, blockSize }
    const adapters = await loadAdapters(executor, options, onWarning)
    const loadMs = clock.nowMs() - startMs
    const blocksThread = !executor.capabilities.answersWhileComputing
    const description = { modelType, ...sizes, ...executor.facts, blocksThread, adapters, loadMs }
    const draftExecutor = drafted?.executor ?? null
    return { core, executor, tier, draftExecutor, description, close }
  } catch (cause) {
    await close()
    throw cause
  }
}

function draftFailure(onWarning: (message: string) => void): (reason: string) => void {
  return (reason) =>
    onWarning(
      `the draft model failed (${reason}): answers go on without its guesses until a restart`,
    )
}

async function loadAdapters(
  { adapters: slots }: OpenedExecutor,
  { adapters = [] }: EngineOptions,
  onWarning: (message: string) => void,
): Promise<readonly AdapterOutcome[]> {
  const outcomes: AdapterOutcome[] = []
  for (const adapter of adapters) {
    const outcome = await loadAdapter(slots, adapter)
    if (outcome.error !== null) onWarning(`an adapter is not loaded: ${outcome.error.message}`)
    outcomes.push(outcome)
  }
  return outcomes
}

/** Nobody outside can know which blocks share a bucket of the prefix cache. */
function secretWords(): [number, number] {
  const words = crypto.getRandomValues(new Int32Array(2))
  return [words[0] as number, words[1] as number]
}
