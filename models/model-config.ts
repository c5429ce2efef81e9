/**
 * What every decoder architecture's configuration says, in no file format's words. A model definition makes one from
 * metadata, checked; after that nothing in here can be wrong. Knows no tensors.
 */

import type { KvLayer } from '../src/graph/graph.ts'

export interface RopeScaling {
  /** Positions are divided by it; 1 = none. */
  readonly linearFactor: number
  /** Tensor that divides each inverse frequency (Llama 3), [rotaryDim / 2]; `null` = none. */
  readonly factorsTensor: string | null
  /** Divides each inverse frequency (Llama 3 and YaRN, from their parameters), [rotaryDim / 2]; absent = none. */
  readonly factors?: readonly number[]
  /** Multiplies cosine and sine (YaRN); absent = 1. */
  readonly magnitude?: number
}

export interface ModelConfig {
  /** Key in the registry, such as `llama`. */
  readonly modelType: string
  readonly hiddenSize: number
  readonly numLayers: number
  readonly numHeads: number
  /** Divides `numHeads`. */
  readonly numKvHeads: number
  readonly headDim: number
  readonly intermediateSize: number
  /** Whether q, k, v and the output projection have biases; absent = as the checkpoint's tensors say. */
  readonly hasAttentionBias?: boolean
  /** Whether gate, up and down have biases; absent = as the checkpoint's tensors say. */
  readonly hasMlpBias?: boolean
  readonly rmsNormEpsilon: number
  readonly ropeTheta: number
  readonly ropeScaling: RopeScaling
  /** Leading numbers of a head that are rotated; even, ≤ headDim. */
  readonly rotaryDim: number
  /** `half` pairs (i, i + rotaryDim / 2), `interleaved` pairs (2i, 2i + 1). */
  readonly ropeStyle: 'half' | 'interleaved'
  /** Whether the embedding is also the output matrix. */
  readonly tieWordEmbeddings: boolean
  readonly vocabSize: number
  /** Longest sequence the checkpoint was made for. */
  readonly maxContextTokens: number
  /** Tokens that end an answer, ascending, each once. */
  readonly eosTokenIds: readonly number[]
}

/** KV geometry before any graph exists, for estimating memory. */
export function kvLayersOf(config: ModelConfig): readonly KvLayer[] {
  const { numLayers, numKvHeads, headDim } = config
  return Array.from({ length: numLayers }, () => ({ numKvHeads, headDim }))
}
