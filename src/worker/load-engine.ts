/**
 * From a checkpoint's path to an engine that steps: open → configure → check → build the graph → lower → load → engine.
 * Runs in the engine process (and in tests, in theirs). Owns nothing once it has returned.
 */

import { definitionOf } from '../../models/registry.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { SOURCE_WEIGHTS } from '../base/weights-choice.ts'
import { openCheckpoint } from '../checkpoint/open-checkpoint.ts'
import { EngineCore } from '../engine/engine-core.ts'
import { NativeExecutor } from '../execution/native-executor.ts'
import { lowerForCpu } from '../graph/lower-cpu.ts'
import { planWeights } from '../graph/plan-weights.ts'
import type { EngineDescription, EngineOptions } from './messages.ts'
import { readConstants } from './read-constants.ts'

export interface LoadedEngine {
  readonly core: EngineCore
  readonly executor: NativeExecutor
  readonly description: EngineDescription
}

/** `fraction` is of the stage, 0 … 1. */
export type OnProgress = (stage: 'checkpoint' | 'weights' | 'session', fraction: number) => void

/**
 * @param options - `maxContextTokens` above what the checkpoint allows is lowered to it
 * @throws ServingError of the checkpoint, models, graph, execution and native rooms
 *
 * Cost: reads and packs all weights; some seconds for a large checkpoint.
 */
export async function loadEngine(
  options: EngineOptions,
  onProgress: OnProgress = () => {},
  clock: Clock = systemClock,
): Promise<LoadedEngine> {
  const startMs = clock.nowMs()
  onProgress('checkpoint', 0)
  const checkpoint = await openCheckpoint(options.checkpointPath)
  const definition = definitionOf(checkpoint)
  const config = definition.readConfig(checkpoint)
  definition.checkTensors(checkpoint, config)
  const constants = await readConstants(definition.constantTensors(checkpoint, config))
  const graph = definition.buildGraph(checkpoint, config, constants)
  const { onnx, kvLayers } = lowerForCpu(graph)
  const { weights } = planWeights(graph, options.weights ?? SOURCE_WEIGHTS)
  onProgress('weights', 0)
  const maxContextTokens = Math.min(options.maxContextTokens, graph.maxContextTokens)
  const executor = await NativeExecutor.open({
    ...options,
    maxContextTokens,
    vocabSize: graph.vocabSize,
    onnx,
    weights,
    kvLayers,
    onProgress: (fraction) => onProgress('weights', fraction),
  })
  try {
    const { eosTokenIds } = options
    const limits = { maxContextTokens, eosTokenIds }
    const { scheduling } = options
    const core = new EngineCore({ executor, clock, ...limits, scheduling, hashKey: secretWords() })
    onProgress('session', 1)
    const { numBlocks, blockSize, vocabSize } = executor.limits
    const sizes = { vocabSize, maxContextTokens, numBlocks, blockSize }
    const loadMs = clock.nowMs() - startMs
    const { modelType } = config
    return { core, executor, description: { modelType, ...sizes, ...executor.facts, loadMs } }
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
