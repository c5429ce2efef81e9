/**
 * Everything that a checkpoint says of itself before a byte of its weights is read: architecture, sizes, tokenizer,
 * template, licence. What `ingot inspect` prints and what a deployment is planned from.
 *
 * Cost: reads headers only, about 50 ms for a vocabulary of 50,000.
 */

import { kvLayersOf, type ModelConfig } from '../../models/model-config.ts'
import { definitionOf } from '../../models/registry.ts'
import type { WeightsChoice } from '../base/weights-choice.ts'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import {
  estimateWeights,
  kvBytesPerToken,
  type WeightsEstimate,
} from '../checkpoint/memory-estimate.ts'
import { openCheckpoint } from '../checkpoint/open-checkpoint.ts'
import { planWeights, type WeightPlan } from '../graph/plan-weights.ts'
import type { TokenizerDescription } from '../text/tokenizer-description.ts'
import { readConstants } from '../worker/read-constants.ts'
import { readTokenizer } from './read-tokenizer.ts'

export interface ModelFacts {
  readonly path: string
  readonly checkpoint: Checkpoint
  readonly config: ModelConfig
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
  kvBytesPerToken(dtype: 'f32' | 'bf16'): number
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
  const definition = definitionOf(checkpoint)
  const config = definition.readConfig(checkpoint)
  definition.checkTensors(checkpoint, config)
  const weights = estimateWeights(checkpoint)
  const constants = await readConstants(definition.constantTensors(checkpoint, config))
  const graph = definition.buildGraph(checkpoint, config, constants)
  const layers = kvLayersOf(config)
  const text = (key: string) => {
    const value = checkpoint.metadata.get(key)
    return typeof value === 'string' && value !== '' ? value : null
  }
  return {
    path,
    checkpoint,
    config,
    weights,
    quantization: weights.formats[0]?.format ?? 'none',
    tokenizer: await readTokenizer(checkpoint, config),
    name: text('general.name'),
    licence: text('general.license'),
    author: text('general.author') ?? text('general.organization'),
    kvBytesPerToken: (dtype) => kvBytesPerToken({ layers, dtype }),
    planWeights: (choice) => planWeights(graph, choice),
  }
}
