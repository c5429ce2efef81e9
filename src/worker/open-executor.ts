/**
 * From an opened checkpoint to an executor: tensors become a graph of our own for the paged one, an exported graph runs
 * on stock ONNX Runtime. The one place that chooses between them. Owns nothing once it has returned.
 */

import { definitionOf } from '../../models/registry.ts'
import { SOURCE_WEIGHTS } from '../base/weights-choice.ts'
import type { Checkpoint, ExportedCheckpoint, OpenedCheckpoint } from '../checkpoint/checkpoint.ts'
import type { OpenedExecutor } from '../execution/executor-facts.ts'
import { ExportedExecutor } from '../execution/exported/exported-executor.ts'
import { NativeExecutor } from '../execution/native-executor.ts'
import { linearOutputs } from '../graph/linear-outputs.ts'
import { lowerForCpu } from '../graph/lower-cpu.ts'
import { planWeights } from '../graph/plan-weights.ts'
import type { EngineOptions } from './messages.ts'
import { readConstants } from './read-constants.ts'

export interface ExecutorOpening {
  readonly executor: OpenedExecutor
  readonly modelType: string
  readonly maxContextTokens: number
}

/** Who hears how far it is, and, in words for people, why packed weights are not kept or not used. */
export interface OpeningListeners {
  onProgress(fraction: number): void
  onWarning(message: string): void
}

/** @throws ServingError of the models, graph, execution and native rooms; nothing stays allocated then */
export function openExecutor(
  checkpoint: OpenedCheckpoint,
  options: EngineOptions,
  listeners: OpeningListeners,
): Promise<ExecutorOpening> {
  return checkpoint.kind === 'onnx'
    ? openExported(checkpoint, options)
    : openNative(checkpoint, options, listeners)
}

async function openNative(
  checkpoint: Checkpoint,
  options: EngineOptions,
  listeners: OpeningListeners,
): Promise<ExecutorOpening> {
  const definition = definitionOf(checkpoint)
  const config = definition.readConfig(checkpoint)
  definition.checkTensors(checkpoint, config)
  const constants = await readConstants(definition.constantTensors(checkpoint, config))
  const graph = definition.buildGraph(checkpoint, config, constants)
  const { onnx, kvLayers } = lowerForCpu(graph)
  const { weights, packedBytes } = planWeights(graph, options.weights ?? SOURCE_WEIGHTS)
  const { vocabSize } = graph
  const { modelType } = config
  const modules = definition.adapterModules(checkpoint, config)
  const adapterTargets = { modelType, modules, outputs: linearOutputs(graph) }
  const maxContextTokens = Math.min(options.maxContextTokens, graph.maxContextTokens)
  const sizes = { maxContextTokens, vocabSize, kvLayers }
  const executor = await NativeExecutor.open({
    ...{ ...options, ...sizes, onnx, weights, packedBytes, adapterTargets },
    ...listeners,
  })
  return { executor, modelType, maxContextTokens }
}

async function openExported(
  { exported, totalTensorBytes }: ExportedCheckpoint,
  options: EngineOptions,
): Promise<ExecutorOpening> {
  const maxContextTokens = Math.min(options.maxContextTokens, exported.sizes.maxContextTokens)
  const executor = await ExportedExecutor.open({
    ...options,
    maxContextTokens,
    decoder: exported,
    weightsBytes: totalTensorBytes,
  })
  return { executor, modelType: exported.modelType, maxContextTokens }
}
