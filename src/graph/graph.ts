/**
 * A model's computation as data: nodes with names, attributes and tensors between them, before any execution provider
 * is chosen. Lowering turns it into ONNX for one provider. Owns nothing that computes.
 *
 * Shapes: `T` tokens of the step, `B` sequences, `L` logits rows. Everything between nodes is f32 `[T, width]`.
 */

import type { TensorFormat } from '../base/tensor-format.ts'
import type { TensorInfo } from '../checkpoint/checkpoint.ts'

/** A value that flows between nodes. */
export interface GraphValue {
  readonly name: string
  readonly dtype: 'f32' | 'i32'
  /** A number, or the symbol of a dimension that changes each step. */
  readonly shape: readonly (number | 'T' | 'B' | 'B+1' | 'L' | 'M')[]
}

export type AttributeValue = number | string | boolean

export interface GraphNode {
  readonly name: string
  readonly operator: string
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attributes: Readonly<Record<string, AttributeValue>>
}

/** Order of a stored matrix: `rows` [out, in], `columns` [in, out]. */
export type MatrixLayout = 'rows' | 'columns'

/** A weight the nodes name: stored tensors joined along the outermost dimension, or values computed by the model. */
export type GraphWeight =
  | {
      readonly name: string
      readonly kind: 'linear' | 'vector'
      readonly tensors: readonly TensorInfo[]
      /** `columns`: matrices stored [in, out]; absent = `rows`, [out, in]. */
      readonly layout?: MatrixLayout
      /** One for each tensor; absent = all as stored. */
      readonly targets?: readonly (TensorTarget | null)[]
    }
  | { readonly name: string; readonly kind: 'constant'; readonly values: Float32Array }

/** What a matrix is written as while it is packed; `null` where it stays as it is stored. */
export interface TensorTarget {
  readonly format: TensorFormat
  /** Weights along a row that share a scale; `null` = all of them, and in formats without scales. */
  readonly group: number | null
}

/** KV geometry of one attention layer; index = the `layer` attribute of its attention node. */
export interface KvLayer {
  readonly numKvHeads: number
  readonly headDim: number
  /** Width of a value; absent = headDim. */
  readonly valueDim?: number
}

export interface Graph {
  readonly inputs: readonly GraphValue[]
  readonly outputs: readonly GraphValue[]
  readonly nodes: readonly GraphNode[]
  readonly weights: readonly GraphWeight[]
  readonly kvLayers: readonly KvLayer[]
  readonly vocabSize: number
  readonly maxContextTokens: number
}
