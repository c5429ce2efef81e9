/** What the calls of `GraphBuilder` take besides values and tensors. Names and meanings are those of native/README.md. */

import type { TensorInfo } from '../checkpoint/checkpoint.ts'
import type { MatrixLayout } from './graph.ts'

export interface EmbeddingOptions {
  /** Multiplies the row; default 1. */
  readonly scale?: number
  /** What picks the row; default `tokenIds`. */
  readonly ids?: 'tokenIds' | 'positions'
}

export interface NormOptions {
  readonly epsilon: number
  /** Added to the weight before it is applied; 1 in Gemma. */
  readonly weightOffset?: number
}

export interface LayerNormOptions {
  readonly epsilon: number
  readonly bias?: TensorInfo | null
}

export interface QkNormOptions {
  readonly numHeads: number
  readonly numKvHeads: number
  readonly headDim: number
  readonly query: TensorInfo
  readonly key: TensorInfo
  readonly epsilon: number
  readonly weightOffset?: number
  /** `head`: each head by itself, weights [headDim]; `all`: all of q and all of k, weights as wide as those. */
  readonly scope: 'head' | 'all'
}

export interface LinearOptions {
  /** How the matrices are stored; default `rows`. */
  readonly layout?: MatrixLayout
}

export interface ScaleOptions {
  /** Default 1. */
  readonly factor?: number
  /** x becomes softcap · tanh(x / softcap). */
  readonly softcap?: number
}

export type ActivationKind = 'silu' | 'gelu' | 'gelu_tanh' | 'relu' | 'relu2' | 'quick_gelu'

export interface GatedOptions {
  readonly kind: ActivationKind
  /** `halves`: all gates, then all ups (default); `interleaved`: gate and up alternate. */
  readonly layout?: 'halves' | 'interleaved'
  /** Gate at most this, up within ± this, before anything else. */
  readonly limit?: number
  /** silu becomes gate · sigmoid(alpha · gate); default 1. */
  readonly alpha?: number
  /** Added to up; default 0. */
  readonly upOffset?: number
}

/** Matrices one below the other, with their biases. */
export interface JoinedTensors {
  readonly weights: readonly TensorInfo[]
  /** Vectors whose lengths add up to the matrices' rows; empty or absent = none. */
  readonly biases?: readonly TensorInfo[]
}

export interface GatedMlpOptions extends LinearOptions {
  /** [2 I, K], in the layout that `unit` says. */
  readonly gateUp: JoinedTensors
  /** [N, I] */
  readonly down: JoinedTensors
  readonly unit: GatedOptions
}

/** One matrix, or matrices one below the other, with their bias, for each member of a family (experts, heads). */
export interface FamilyTensors {
  /** [members][parts] */
  readonly weights: readonly (readonly TensorInfo[])[]
  /** [members][parts]; absent = none. */
  readonly biases?: readonly (readonly TensorInfo[])[] | null
  /** How the matrices are stored; default `rows`. */
  readonly layout?: MatrixLayout
}

export interface RouterOptions {
  /** How logits become scores: `softmax_chosen` is a softmax over the chosen ones alone. */
  readonly scoring: 'softmax' | 'softmax_chosen' | 'sigmoid'
  /** Experts of each row. */
  readonly topK: number
  /** Whether the gains are divided by their sum. */
  readonly normalize: boolean
  /** Multiplies the gains; default 1. */
  readonly gainScale?: number
  /** [experts], added to the scores for choosing only. */
  readonly correction?: TensorInfo | null
  /** Equal groups of experts, of which the `topGroups` best are chosen from; default 1 and 1. */
  readonly numGroups?: number
  readonly topGroups?: number
}

export interface MoeOptions {
  readonly router: RouterOptions
  /** [2 I, H] for each expert, in the layout that `unit` says. */
  readonly gateUp: FamilyTensors
  /** [H, I] for each expert. */
  readonly down: FamilyTensors
  readonly unit: GatedOptions
}

export interface RopeOptions {
  readonly style: 'half' | 'interleaved'
  /** Inverse frequencies, [rotaryDim / 2] f32; the same array in several layers is one weight. */
  readonly frequencies: Float32Array
  /** Multiplies cos and sin; default 1. */
  readonly scale?: number
  /** First rotated number of each head; default 0. */
  readonly offset?: number
}

export interface AttentionOptions {
  readonly numHeads: number
  readonly numKvHeads: number
  readonly headDim: number
  /** Width of a value; default headDim. */
  readonly valueDim?: number
  /** Multiplies q · k. */
  readonly scale: number
  /** `null` = no rotation. Frequencies for fewer than headDim numbers rotate a part of each head. */
  readonly rope: RopeOptions | null
  /** Keys that a row sees, itself included; `null` = all before it, as by default. */
  readonly window?: number | null
  /** c · tanh(s / c) of each scaled score; `null` = none, as by default. */
  readonly softcap?: number | null
  /** One logit a head, [numHeads], that takes part in the softmax and has no value; `null` = none, as by default. */
  readonly sinks?: TensorInfo | null
  /** K and V of all rows are stored, but only the rows whose logits are wanted attend; default: all do. */
  readonly isForWantedRows?: boolean
}
