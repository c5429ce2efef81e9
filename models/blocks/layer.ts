/**
 * One layer while its graph is built: its tensors by their parts, its configuration, and the operators with the options
 * that the configuration gives them. Blocks see the model through it. Owns nothing but its place.
 */

import { invariant } from '../../src/base/errors.ts'
import type { Checkpoint, TensorInfo } from '../../src/checkpoint/checkpoint.ts'
import type { GraphValue } from '../../src/graph/graph.ts'
import type { GraphBuilder } from '../../src/graph/graph-builder.ts'
import type { RopeOptions } from '../../src/graph/operator-options.ts'
import type { LayerConfig, ModelConfig } from '../model-config.ts'
import { tensorOf } from '../tensor-check.ts'
import type { Part, TensorNames } from './tensor-names.ts'

/** What all layers of a model share. */
export interface LayerContext {
  readonly builder: GraphBuilder
  readonly checkpoint: Checkpoint
  readonly config: ModelConfig
  readonly names: TensorNames
  /** One for each of the configuration's `ropes`. */
  readonly ropes: readonly RopeOptions[]
}

export class DecoderLayer {
  readonly index: number
  readonly builder: GraphBuilder
  readonly model: ModelConfig
  readonly config: LayerConfig
  readonly names: TensorNames
  /** `null` = positions are not rotated in. */
  readonly rope: RopeOptions | null
  /** Behind the attention of the last layer only the rows whose logits are wanted go on. */
  readonly isLast: boolean
  readonly #checkpoint: Checkpoint

  constructor({ builder, checkpoint, config, names, ropes }: LayerContext, index: number) {
    const layer = config.layers[index]
    invariant(layer !== undefined, 'L3', 'the configuration says something of each layer')
    this.index = index
    this.builder = builder
    this.model = config
    this.config = layer
    this.names = names
    this.rope = layer.rope === null ? null : (ropes[layer.rope] ?? null)
    this.isLast = index === config.numLayers - 1
    this.#checkpoint = checkpoint
  }

  weight(part: Part): TensorInfo {
    return tensorOf(this.#checkpoint, this.names.part(this.index, part, 'weight'))
  }

  /** Under its whole name within the layer. */
  tensor(name: string): TensorInfo {
    return tensorOf(this.#checkpoint, this.names.inLayer(this.index, name))
  }

  /** `null` when the checkpoint has none. */
  bias(part: Part): TensorInfo | null {
    const name = this.names.part(this.index, part, 'bias')
    return this.#checkpoint.tensors.get(name) ?? null
  }

  /** One node for the joined matrices, with their biases when there are any; then each must have one. */
  linear(x: GraphValue, parts: readonly Part[]): GraphValue {
    const { weights, biases } = this.#joined(parts)
    return this.builder.linear(x, weights, biases, { layout: this.names.layout })
  }

  /** One node for a gated MLP; `gateUp` are the gate and the up, or both in one, gate first. */
  gatedMlp(x: GraphValue, gateUp: readonly Part[], down: Part): GraphValue {
    return this.builder.gatedMlp(x, {
      gateUp: this.#joined(gateUp),
      down: this.#joined([down]),
      unit: { kind: this.model.activation },
      layout: this.names.layout,
    })
  }

  #joined(parts: readonly Part[]): { weights: TensorInfo[]; biases: TensorInfo[] } {
    const weights = parts.map((part) => this.weight(part))
    const names = parts.map((part) => this.names.part(this.index, part, 'bias'))
    const hasBias = names.some((name) => this.#checkpoint.tensors.has(name))
    return { weights, biases: hasBias ? names.map((name) => tensorOf(this.#checkpoint, name)) : [] }
  }
}
