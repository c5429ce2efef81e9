/**
 * What a layer is made of. A block (attention, MLP) turns a normed row into what is added to the residual stream; a
 * wiring puts blocks, norms and the stream together. Each says which tensors it wants, so that a checkpoint is checked
 * by the same file that computes with it.
 */

import type { GraphValue } from '../../src/graph/graph.ts'
import type { ModelConfig, Presence } from '../model-config.ts'
import type { ExpectedTensor } from '../tensor-check.ts'
import type { DecoderLayer } from './layer.ts'
import type { ResidualStream } from './residual-stream.ts'
import type { Part, TensorNames } from './tensor-names.ts'

export interface PartTensors {
  readonly part: Part
  /** Of the weight; a matrix is [out, in], whatever the layout of the file. */
  readonly shape: readonly number[]
  /** As long as the weight's first dimension. */
  readonly bias: Presence
}

/** A tensor that is no part with a bias of its own, under its whole name within the layer. */
export type NamedTensor = ExpectedTensor

export type LayerTensor = PartTensors | NamedTensor

/** The layer whose tensors are asked for. */
export interface LayerShape {
  readonly config: ModelConfig
  readonly names: TensorNames
  readonly index: number
}

export interface Block {
  parts(layer: LayerShape): readonly LayerTensor[]
  build(layer: DecoderLayer, x: GraphValue): GraphValue
}

export interface Wiring {
  parts(layer: LayerShape): readonly LayerTensor[]
  build(layer: DecoderLayer, stream: ResidualStream): void
}
