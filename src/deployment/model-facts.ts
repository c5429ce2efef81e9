/**
 * Everything that a checkpoint says of itself before a byte of its weights is read: architecture, sizes, tokenizer,
 * template, licence. What `ingot inspect` prints and what a deployment is planned from.
 *
 * Cost: reads headers only, about 50 ms for a vocabulary of 50,000.
 */

import { kvLayersOf, type ModelConfig } from '../../models/model-config.ts'
import { definitionOf } from '../../models/registry.ts'
import { type KvDtype, kvBytesPerToken } from '../base/kv-dtype.ts'
import type { WeightsChoice } from '../base/weights-choice.ts'
import type { Checkpoint, ExportedCheckpoint, OpenedCheckpoint } from '../checkpoint/checkpoint.ts'
import {
  estimateExported,
  estimateWeights,
  type WeightsEstimate,
} from '../checkpoint/memory-estimate.ts'
import type { ExportedDecoder } from '../checkpoint/onnx/exported-decoder.ts'
import { openCheckpoint } from '../checkpoint/open-checkpoint.ts'
import { planWeights, type WeightPlan } from '../graph/plan-weights.ts'
import type { TokenizerDescription } from '../text/tokenizer-description.ts'
import { readConstants } from '../worker/read-constants.ts'
import { exportedKvBytesPerToken, exportedWeightPlan } from './exported-model.ts'
import { readTokenizer } from './read-tokenizer.ts'

/** The part of a model's configuration that is known whoever made its graph. */
export interface ModelSummary
  extends Pick<
    ModelConfig,
    | 'modelType'
    | 'numLayers'
    | 'numKvHeads'
    | 'headDim'
    | 'vocabSize'
    | 'maxContextTokens'
    | 'eosTokenIds'
  > {
  /** `null` where an exported folder does not say it. */
  readonly hiddenSize: number | null
  readonly numHeads: number | null
  readonly intermediateSize: number | null
}

export interface ModelFacts {
  readonly path: string
  /** Without the metadata of its tokenizer. */
  readonly checkpoint: OpenedCheckpoint
  readonly config: ModelSummary
  /** `null` for a checkpoint whose graph is made here. */
  readonly exported: ExportedDecoder | null
  readonly weights: WeightsEstimate
  /** Name of the format that most weight bytes are in, such as `Q4_1`. */
  readonly quantization: string
  /** `null` for a folder that has none: the model takes and gives token ids only. */
  readonly tokenizer: TokenizerDescription | null
  /** As the file states it; `null` when it says nothing. */
  readonly name: string | null
  readonly licence: string | null
  readonly author: string | null
  /** Of K and V together over all layers. */
  kvBytesPerToken(dtype: KvDtype): number
  /**
   * Formats and packed bytes of all weights under a choice; cheap, nothing is read.
   *
   * @throws ServingError GRAPH_WEIGHTS_*
   */
  planWeights(choice: WeightsChoice): WeightPlan
}

/** @throws ServingError of the checkpoint, models and text rooms */
export async function readModelFacts(path: string): Promise<ModelFacts> {
  const checkpoint = await openCheckpoint(path)
  const computed =
    checkpoint.kind === 'onnx' ? factsOfExported(checkpoint) : await factsOfTensors(checkpoint)
  const text = (key: string) => {
    const value = checkpoint.metadata.get(key)
    return typeof value === 'string' && value !== '' ? value : null
  }
  const tokenizer = await readTokenizer(checkpoint, computed.config)
  // The tokenizer's description says it all again.
  const metadata = new Map([...checkpoint.metadata].filter(([key]) => !isOfTokenizer(key)))
  return {
    path,
    checkpoint: { ...checkpoint, metadata },
    ...computed,
    quantization: computed.weights.formats[0]?.format ?? 'none',
    tokenizer,
    name: text('general.name'),
    licence: text('general.license'),
    author: text('general.author') ?? text('general.organization'),
  }
}

function isOfTokenizer(key: string): boolean {
  return key.startsWith('tokenizer.ggml.')
}

type ComputedFacts = Pick<
  ModelFacts,
  'config' | 'weights' | 'exported' | 'kvBytesPerToken' | 'planWeights'
>

async function factsOfTensors(checkpoint: Checkpoint): Promise<ComputedFacts> {
  const definition = definitionOf(checkpoint)
  const config = definition.readConfig(checkpoint)
  definition.checkTensors(checkpoint, config)
  const constants = await readConstants(definition.constantTensors(checkpoint, config))
  const graph = definition.buildGraph(checkpoint, config, constants)
  const layers = kvLayersOf(config)
  return {
    config,
    exported: null,
    weights: estimateWeights(checkpoint),
    kvBytesPerToken: (dtype) => kvBytesPerToken(layers, dtype),
    planWeights: (choice) => planWeights(graph, choice),
  }
}

function factsOfExported({ exported, totalTensorBytes }: ExportedCheckpoint): ComputedFacts {
  const { modelType, sizes, eosTokenIds, inputs } = exported
  return {
    config: { modelType, numLayers: inputs.past.length, ...sizes, eosTokenIds },
    exported,
    weights: estimateExported(exported, totalTensorBytes),
    kvBytesPerToken: () => exportedKvBytesPerToken(exported),
    planWeights: (choice) => exportedWeightPlan(exported, totalTensorBytes, choice),
  }
}
