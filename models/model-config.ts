/**
 * What every decoder architecture's configuration says, in no file format's words. A model definition makes one from
 * metadata, checked; after that nothing in here can be wrong. Knows no tensors.
 *
 * Numbers that most architectures do not have carry the value that changes nothing (`PLAIN`), so that whoever builds a
 * graph asks for no architecture's name.
 */

import type { KvLayer } from '../src/graph/graph.ts'
import type { GatedOptions, RouterOptions } from '../src/graph/operator-options.ts'

/** One way of rotating queries and keys. Layers name theirs by its place in `ropes`. */
export interface RopeSetting {
  readonly theta: number
  /** Leading numbers of a head that are rotated; even, ≤ headDim. */
  readonly rotaryDim: number
  /** `half` pairs (i, i + rotaryDim / 2), `interleaved` pairs (2i, 2i + 1). */
  readonly style: 'half' | 'interleaved'
  /** Positions are divided by it; 1 = none. */
  readonly linearFactor: number
  /** Tensor that divides each inverse frequency (Llama 3 in GGUF), [rotaryDim / 2]; `null` = none. */
  readonly factorsTensor: string | null
  /** Divides each inverse frequency (Llama 3, YaRN, LongRoPE, from their parameters), [rotaryDim / 2]; `null` = none. */
  readonly factors: readonly number[] | null
  /** Multiplies cosine and sine (YaRN, LongRoPE). */
  readonly magnitude: number
}

export interface LayerConfig {
  /** Index into `ropes`; `null` = positions are not rotated in. */
  readonly rope: number | null
  /** How many of the latest keys a query sees, its own among them; `null` = all. */
  readonly window: number | null
  /** Absent = the model's. */
  readonly attentionScale?: number
  /** One MLP of the model's `intermediateSize` although the model has experts. */
  readonly isDense?: boolean
}

/** A mixture of experts in place of an MLP. */
export interface ExpertsConfig {
  readonly numExperts: number
  /** Inner width of each. */
  readonly size: number
  readonly router: Omit<RouterOptions, 'correction'>
  /** Whether a vector corrects the scores for choosing. */
  readonly hasCorrection: boolean
  /** Whether the router and the experts have biases. */
  readonly hasBias: boolean
  /** What every row goes through besides; gated: times the sigmoid of one more logit. */
  readonly shared: { readonly size: number; readonly isGated: boolean } | null
  readonly unit: Omit<GatedOptions, 'layout'>
}

/** Latent attention: keys and values of all heads are made from one short vector a token, which is what is kept. */
export interface LatentConfig {
  /** Width that queries are squeezed through; `null` = they are not. */
  readonly queryRank: number | null
  readonly kvRank: number
  /** Numbers of a head that are not rotated, and that are. */
  readonly nopeDim: number
  readonly ropeDim: number
  /** Width of a head's value. */
  readonly valueDim: number
  /** Of the norms of what is squeezed. */
  readonly epsilon: number
}

export interface NormConfig {
  /** `rms`: root mean square. `layer`: mean and variance. */
  readonly kind: 'rms' | 'layer'
  readonly epsilon: number
  /** Added to the stored weight; 1 in Gemma's own files. */
  readonly weightOffset: number
}

/** `optional`: whether there is one, the tensors say. */
export type Presence = boolean | 'optional'

/** Which matrices and norms come with a bias. */
export interface BiasConfig {
  readonly qkv: Presence
  readonly attentionOutput: Presence
  readonly mlp: Presence
  readonly norm: Presence
}

export type Activation = 'silu' | 'gelu' | 'gelu_tanh' | 'relu' | 'relu2' | 'quick_gelu'

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
  readonly vocabSize: number
  /** Longest sequence that is computed as the checkpoint means it. */
  readonly maxContextTokens: number
  /** Tokens that end an answer, ascending, each once. */
  readonly eosTokenIds: readonly number[]
  /** Whether the embedding is also the output matrix. */
  readonly tieWordEmbeddings: boolean
  readonly biases: BiasConfig
  readonly norm: NormConfig
  /** Norm of queries and keys before the rotation: over each head, or over all heads at once. */
  readonly qkNorm: 'head' | 'all' | null
  readonly activation: Activation
  readonly ropes: readonly RopeSetting[]
  /** [numLayers] */
  readonly layers: readonly LayerConfig[]
  /** Multiplies q · k. */
  readonly attentionScale: number
  /** c · tanh(x / c) of the attention's scores. */
  readonly attentionSoftcap: number | null
  /** Multiplies the embeddings. */
  readonly embeddingScale: number
  /** Multiplies what each half of a layer adds. */
  readonly residualScale: number
  /** Multiplies the logits. */
  readonly logitScale: number
  /** c · tanh(x / c) of the logits, after `logitScale`. */
  readonly logitSoftcap: number | null
  /** Absent = each layer has one MLP. */
  readonly experts?: ExpertsConfig
  /** Absent = grouped query attention. */
  readonly latent?: LatentConfig
  /** What a layer keeps for each token, where that is not `numKvHeads` × `headDim` (latent attention). */
  readonly kvLayer?: KvLayer
}

/** What an architecture has that says nothing else. */
export const PLAIN: Pick<
  ModelConfig,
  | 'biases'
  | 'qkNorm'
  | 'activation'
  | 'attentionSoftcap'
  | 'embeddingScale'
  | 'residualScale'
  | 'logitScale'
  | 'logitSoftcap'
> = {
  biases: { qkv: false, attentionOutput: false, mlp: false, norm: false },
  qkNorm: null,
  activation: 'silu',
  attentionSoftcap: null,
  embeddingScale: 1,
  residualScale: 1,
  logitScale: 1,
  logitSoftcap: null,
}

/** Layers that are all alike. */
export function equalLayers(numLayers: number, layer: LayerConfig): readonly LayerConfig[] {
  return Array.from({ length: numLayers }, () => layer)
}

/** KV geometry before any graph exists, for estimating memory. */
export function kvLayersOf(config: ModelConfig): readonly KvLayer[] {
  const { numLayers, numKvHeads, headDim, kvLayer } = config
  return Array.from({ length: numLayers }, () => kvLayer ?? { numKvHeads, headDim })
}
