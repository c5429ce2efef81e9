/**
 * An exported decoder as data: which file holds its graph, and what each input and output of the graph means. Made by
 * the reader of this folder, complete and checked against the graph; whoever runs it asks the file nothing more.
 */

import type { StoredWeights } from './graph-parts.ts'

/** An input of whole numbers. */
export interface IndexInput {
  readonly name: string
  readonly type: 'I64' | 'I32'
  /** 0 for a number that stands alone. */
  readonly rank: number
}

/** Names of one layer's keys and values. */
export interface KvNames {
  readonly key: string
  readonly value: string
}

export interface ExportedSizes {
  readonly vocabSize: number
  readonly maxContextTokens: number
  readonly numKvHeads: number
  readonly headDim: number
  /** `null` where no file says it. */
  readonly hiddenSize: number | null
  readonly numHeads: number | null
  readonly intermediateSize: number | null
}

export interface ExportedDecoder {
  /** `genai`: a folder with `genai_config.json`. `optimum`: Optimum's and onnx-community's names. */
  readonly layout: 'optimum' | 'genai'
  readonly modelType: string
  /** The graph that runs, and why this one of the folder's. */
  readonly graphFile: string
  readonly reason: string
  /** Other graphs of the folder that could have been chosen, by path. */
  readonly otherGraphs: readonly string[]
  readonly producer: string
  readonly opset: number
  readonly inputs: {
    readonly tokenIds: IndexInput
    readonly attentionMask: IndexInput | null
    readonly positionIds: IndexInput | null
    /** How many of the last rows get logits; all when the graph does not ask. */
    readonly numLogits: IndexInput | null
    /** A boolean that chooses the branch of a merged decoder. */
    readonly useCacheBranch: string | null
    /** By layer. */
    readonly past: readonly KvNames[]
  }
  readonly outputs: {
    readonly logits: string
    /** By layer. */
    readonly present: readonly KvNames[]
  }
  /** What matrix products compute in, as its operators say. */
  readonly activations: 'f32' | 'f16' | 'int8'
  readonly kvType: 'F32' | 'F16'
  readonly logitsType: 'F32' | 'F16'
  /** Whether the graph gives logits of the last row only. */
  readonly hasLastLogitsOnly: boolean
  /** Tokens of one run, where the graph fixes them. */
  readonly fixedTokens: number | null
  /** Whether past and present may be one buffer as long as the context (GroupQueryAttention in every layer). */
  readonly sharesKvBuffer: boolean
  readonly sizes: ExportedSizes
  /** Ascending, each once. */
  readonly eosTokenIds: readonly number[]
  /** Largest first. */
  readonly weights: readonly StoredWeights[]
}
