/**
 * The whole surface of the native addon as TypeScript sees it. `native/src/lib.rs` registers exactly these names and a
 * test compares the two. Knows nothing of schedulers, files' formats or HTTP.
 *
 * Threads: one `NativeModel` belongs to the JavaScript thread that made it; `step` computes on the model's own threads.
 * All arrays in `NativeBuffers` are views of native memory, allocated once; they are written between steps and must not
 * be touched while a `step` is under way, and not after `dispose`.
 *
 * Errors are `Error`s whose `code` is in `native/errors.ts`. A call while a promise is pending fails with `NATIVE_BUSY`
 * (`dispose` waits instead), and any call but `dispose` after it with `NATIVE_DISPOSED`.
 */

export type KvDtype = 'f32' | 'bf16' | 'f16' | 'int8'
/** `bf16`: rounded to it, then multiplied and summed in f32. */
export type Activations = 'f32' | 'bf16' | 'int8'

export interface NativeCapabilities {
  /** Must equal `NATIVE_ABI`; raised whenever this file changes meaning. */
  readonly abi: number
  /** Kernel family chosen at load: `avx512-vnni`, `avx2-vnni`, `avx2`, `neon-dotprod`, `neon`, `scalar`. */
  readonly kernels: string
  /** CPU features that the choice was made from. */
  readonly cpuFeatures: readonly string[]
}

/** K and V of one layer: `[numBlocks, numKvHeads, blockSize, headDim]` each (the inner order is the kernel's). */
export interface NativeKvLayer {
  readonly numKvHeads: number
  readonly headDim: number
  /** Width of V where it is not that of K. */
  readonly valueDim?: number
}

export interface NativeModelOptions {
  /** Path of libonnxruntime; one per process, the first call wins and a different one later is an error. */
  readonly ortLibrary: string
  /** Compute threads, the caller of `step` not counted; 1 ≤ n. */
  readonly threads: number
  readonly activations: Activations
  readonly kvDtype: KvDtype
  readonly kvLayers: readonly NativeKvLayer[]
  /** Tokens per KV block: 16, 32 or 64. */
  readonly blockSize: number
  readonly numBlocks: number
  readonly maxNumBatchedTokens: number
  readonly maxNumSeqs: number
  readonly maxBlocksPerSeq: number
  readonly maxLogitsRows: number
  readonly vocabSize: number
}

/** Bytes of one stored tensor inside an opened file. Parts of one weight are joined along the outermost dimension. */
export interface NativeWeightPart {
  readonly file: string
  readonly offset: number
  readonly byteLength: number
  /** A name of `TENSOR_FORMATS`. */
  readonly format: string
  /** Outermost first: `[outFeatures, inFeatures]` for a linear or an embedding, `[n]` for a vector. */
  readonly shape: readonly number[]
  /** `columns`: a matrix stored `[inFeatures, outFeatures]`, turned over when it is packed. Default `rows`. */
  readonly layout?: 'rows' | 'columns'
  /** Of MXFP4 in rows whose exponents lie apart from the blocks in these bytes: one byte a block. */
  readonly exponents?: {
    readonly file: string
    readonly offset: number
    readonly byteLength: number
  }
  /** Of a quantized `linear` whose codes these bytes are; `format` is then only a name for messages. */
  readonly quantization?: NativeQuantization
  /** Written in this format while it is packed; absent = as stored. Of a `linear` only. */
  readonly target?: NativeWeightTarget
}

export interface NativeWeightTarget {
  /** `F32`, `F16`, `BF16`, `Q4_0`, `Q4_1` or `Q8_0`. */
  readonly format: string
  /** Weights along a row that share a scale, a multiple of 32; absent = the whole row. Nothing to dense formats. */
  readonly group?: number
}

/** Numbers of a stored tensor; `dtype` is safetensors' word. */
export interface NativeNumbers {
  readonly file: string
  readonly offset: number
  readonly byteLength: number
  readonly dtype: string
}

/** Small integers that are packed in bytes, as `src/checkpoint/quantized/stored-quantization.ts` says. */
export interface NativeFields {
  readonly bits: number
  readonly packing: 'rows' | 'columns'
  readonly order: 'ascending' | 'awq' | 'high-first'
  readonly isOutputFirst: boolean
  readonly isSigned: boolean
  readonly added: number
}

export interface NativeScales {
  /** Absent = all are 1. */
  readonly numbers?: NativeNumbers
  readonly layout: 'grid' | 'flat'
  readonly isOutputFirst: boolean
  readonly columns: number
  readonly rowsPerScale: number
  readonly divisor: number
  readonly block: number
  readonly nestedTable?: NativeNumbers
  readonly nestedScales?: NativeNumbers
  readonly nestedBlock?: number
  readonly nestedOffset?: number
}

/** Beside its codes, all that a quantized weight is made of. */
export interface NativeQuantization {
  readonly codes: NativeFields
  readonly values: 'integers' | 'float8' | 'table'
  readonly zeros?: NativeFields
  readonly zeroNumbers?: NativeNumbers
  readonly table?: NativeNumbers
  readonly scales: NativeScales
  readonly group: number
  readonly groupOfInput?: NativeNumbers
}

/**
 * `linear`: packed for `Linear` (and readable by `Embedding` when tied). `vector`: f32 (norm weights, biases).
 * `constant`: f32 values given by the graph itself (`values`), such as RoPE inverse frequencies.
 */
export interface NativeWeight {
  readonly name: string
  readonly kind: 'linear' | 'vector' | 'constant'
  readonly parts?: readonly NativeWeightPart[]
  readonly values?: Float32Array
}

/** What is drawn from, and what came of it: one entry a logits row. */
export interface NativeSamplerBuffers {
  // [maxL] sampler slot that draws from this row; -1 = none. Several rows of one slot only without penalties, and once
  // `minTokens` tokens were drawn: rows of guessed tokens.
  readonly samplerSlots: Int32Array
  readonly samplePositions: Int32Array // [maxL] absolute position of the token that is drawn (key of the random draw)
  readonly targetIds: Int32Array // [maxL] token whose logprob is wanted instead of a draw; -1 = none
  readonly topLogprobCounts: Int32Array // [maxL] alternatives wanted, 0…20; -1 = no logprobs at all
  readonly sampledIds: Int32Array // [maxL] out
  readonly sampledLogprobs: Float32Array // [maxL] out: logprob of the drawn token or of the target, of raw logits
  readonly sampledRanks: Int32Array // [maxL] out: 1 = most likely
  readonly topIds: Int32Array // [maxL * 20] out, most likely first, ties by lower id
  readonly topLogprobs: Float32Array // [maxL * 20] out
  readonly logits: Float32Array // [maxL * vocabSize] raw, before any processor
}

/** Inputs and outputs of one step. `T` tokens, `B` sequences, `L` logits rows; capacity is the option's maximum. */
export interface NativeBuffers extends NativeSamplerBuffers {
  readonly tokenIds: Int32Array // [maxT]
  readonly positions: Int32Array // [maxT] absolute position of each row
  readonly slotMapping: Int32Array // [maxT] blockId * blockSize + offset; -1 = do not store
  readonly queryStarts: Int32Array // [maxB + 1] first row of each sequence, strictly ascending; last entry = T
  readonly contextLengths: Int32Array // [maxB] tokens whose KV is visible after this step = last row's position + 1
  readonly blockTables: Int32Array // [maxB * maxBlocksPerSeq] row b at b * maxBlocksPerSeq
  readonly logitsRows: Int32Array // [maxL] rows of T whose logits are wanted, strictly ascending
  readonly adapterRows: Int32Array // [maxT] slot of the published adapter that answers each row; 0 = none
}

/** What the native sampler needs to know of a sequence; the engine's `SamplingParams` said in numbers. */
export interface NativeSamplerSpec {
  readonly temperature: number // 0 = greedy
  readonly topP: number
  readonly topK: number // 0 = off
  readonly minP: number
  readonly presencePenalty: number
  readonly frequencyPenalty: number
  readonly repetitionPenalty: number
  readonly seed: bigint // unsigned 64 bits
  readonly choice: number
  /** Masked until `minTokens` tokens have been drawn. */
  readonly stopTokenIds: Int32Array
  readonly minTokens: number
  readonly logitBiasIds: Int32Array
  readonly logitBiasValues: Float32Array
  readonly promptIds: Int32Array
  /** Tokens drawn before (after preemption the sequence comes back with them). */
  readonly outputIds: Int32Array
}

/** Time of one kind of node, of the whole run of the session and sampling (`step`), or of sampling. */
export interface NativeOperatorTime {
  readonly operator: string
  /** A weight's shape, or ''. */
  readonly detail: string
  readonly calls: number
  readonly microseconds: number
}

/** A dense matrix, row after row. */
export interface NativeAdapterMatrix {
  readonly format: 'F32' | 'F16' | 'BF16'
  readonly rows: number
  readonly bytes: Uint8Array
}

/** What an adapter adds to some outputs of a `Linear` node: y += scale · up · (down · x). Finite numbers only. */
export interface NativeAdapterDelta {
  /** Name of the node's weight. */
  readonly weight: string
  readonly down: NativeAdapterMatrix // [rank, inputs]
  readonly up: NativeAdapterMatrix // [outputs, rank]
  readonly inputs: number
  readonly scale: number
  /** Output of the weight that the first row of `up` belongs to. */
  readonly firstOutput: number
  /** Output of each row of `up`, counted from `firstOutput`, each once; absent = ascending. */
  readonly outputOrder?: Int32Array
}

export interface NativeModel {
  readonly buffers: NativeBuffers
  /** Map, check and pack weights; runs on the compute threads. Rejects when bytes and shape disagree. */
  loadWeights(weights: readonly NativeWeight[]): Promise<void>
  /**
   * Weights that were packed before, from a file that is mapped and may be shared. All of it is checked first: rejects
   * with NATIVE_BAD_PACK, and changes nothing, unless it is whole and holds what `key` stands for.
   */
  openPack(file: string, key: string): Promise<void>
  /**
   * From here on `loadWeights` packs into the file (constants excepted), holding one weight at a time; nodes can name them
   * after `endPack`. Whatever rejects until then leaves no file and none of the weights: begin again, or load without.
   */
  beginPack(file: string, key: string): Promise<void>
  /** Put the file in its place, whole and on the disk, and map it. */
  endPack(file: string, key: string): Promise<void>
  /** Build the session from a serialized ONNX model whose nodes are of domain `ingot`. After this, `step` may be called. */
  createSession(onnx: Uint8Array): Promise<void>
  /**
   * Run one step on the first `numTokens` rows, `numSeqs` sequences and `numLogitsRows` logits rows, then draw.
   * Rejects without poisoning the model; the KV written by the step is then unspecified for its slots only.
   */
  step(numTokens: number, numSeqs: number, numLogitsRows: number): Promise<void>
  /** Bind a sampler slot, 0 ≤ slot < maxNumSeqs, between steps only. `step` adds a drawn token to its counts itself. */
  setSampler(slot: number, spec: NativeSamplerSpec): void
  clearSampler(slot: number): void
  /** Bytes of a KV block over all layers. */
  kvBlockBytes(): number
  /** Copy whole KV blocks within the pool, in order, between steps only: `[from, to, from, to, …]`. */
  copyBlocks(pairs: Int32Array): void
  /**
   * Copy a block's bytes out of the pool, or put them back, between steps only. They mean the same to every model with
   * the same weights, KV layers, KV type, block size and kernels, and to no other.
   */
  readBlock(blockId: number, into: Uint8Array): void
  writeBlock(blockId: number, from: Uint8Array): void
  /**
   * Add a delta to the adapter that is put together for `slot`, 1 ≤ slot; steps see it once it is published. At any time
   * after `createSession`, also while a step is under way. Throws NATIVE_BAD_WEIGHT when it does not fit its weight.
   */
  stageAdapter(slot: number, delta: NativeAdapterDelta): void
  /** From the next step on rows may use it. */
  publishAdapter(slot: number): void
  /** Forget what is staged or published for `slot`; a step under way keeps it until it ends. */
  removeAdapter(slot: number): void
  /**
   * From the next step on, sum up Xᵀ·X of the inputs of these weights, for calibration; between steps only. What was
   * summed before is forgotten, so an empty list ends it. Holds k² f32 a weight of k inputs.
   */
  observe(names: readonly string[]): void
  /** `[k][k]` of an observed weight. */
  moments(name: string): Float32Array
  /** Bytes held: packed weights, KV pool (reserved), adapters, buffers. */
  memory(): {
    readonly weightsBytes: number
    readonly kvBytes: number
    readonly adaptersBytes: number
    readonly buffersBytes: number
  }
  /** What was measured since the last call, which is forgotten; from now on steps are measured by operator, or not. */
  switchProfile(isOn: boolean): readonly NativeOperatorTime[]
  /** Frees everything; waits for a step under way. Idempotent. */
  dispose(): void
}

/**
 * The sampler of a model's step alone, for logits that something else computed: `logits` is written by the caller.
 * Synchronous, on the thread that calls; freed with its last view.
 */
export interface NativeSampler {
  readonly buffers: NativeSamplerBuffers
  /** As `NativeModel.setSampler`; `sample` adds a drawn token to the counts itself. */
  setSampler(slot: number, spec: NativeSamplerSpec): void
  clearSampler(slot: number): void
  /** Draw from the first rows. Throws, having drawn nothing, when a slot, target or count is wrong. */
  sample(numLogitsRows: number): void
}

export interface NativeSamplerOptions {
  readonly maxNumSeqs: number
  readonly maxLogitsRows: number
  readonly vocabSize: number
}

/** A SentencePiece vocabulary. As many scores and kinds as tokens; ids are indices. */
export interface NativePieces {
  /** No two equal, none empty. */
  readonly tokens: readonly string[]
  readonly scores: Float32Array
  /** 2 unknown, 3 control, 4 user-defined, 6 byte (written `<0xNN>`), anything else normal. */
  readonly kinds: Uint8Array
  /** Where a text gets a space before it; `afterTokens`: at its beginning and behind each special and user-defined token. */
  readonly spacePrefix: 'never' | 'first' | 'afterTokens'
  /** Around a text that is encoded with special tokens. */
  readonly beginId?: number
  readonly endId?: number
  /** For characters that are neither a token nor written in bytes; absent: they are dropped. */
  readonly unknownId?: number
  /** Tokens that take the white space behind them with them. */
  readonly rightStrippingIds: readonly number[]
}

export interface NativeTokenizerBuild {
  /** Waits until it is made. @throws Error with the reason, when what it was to be made from is refused */
  finish(): NativeTokenizer
}

/** One tokenizer. Immutable; any call may run at any time. */
export interface NativeTokenizer {
  readonly vocabSize: number
  encode(text: string, addSpecialTokens: boolean): Int32Array
  /** Off the event loop, for long texts. */
  encodeAsync(text: string, addSpecialTokens: boolean): Promise<Int32Array>
  /** Bytes of one token as the decoder would emit them in the middle of a text; empty for unknown ids. */
  tokenBytes(id: number): Uint8Array
  /** The same for a token that begins a text: without the space that encoding put there. */
  firstBytes(id: number): Uint8Array
  /** `firstBytes` of the first shown id and `tokenBytes` of the others joined, invalid UTF-8 replaced. */
  decode(ids: Int32Array, skipSpecialTokens: boolean): string
  tokenToId(token: string): number | null
  isSpecial(id: number): boolean
}

/** How one matrix is quantised in groups along its inputs: value = (code − zero) · scale. */
export interface NativeQuantizeOptions {
  readonly bits: 4 | 8
  /** Divides the number of inputs. */
  readonly group: number
  readonly isSymmetric: boolean
  /** The scale with the least squared error instead of the one that reaches all values. */
  readonly searchesScale: boolean
  /** Of `NativeModel.moments`: errors are compensated (GPTQ); absent: rounding to nearest. */
  readonly moments?: Float32Array
  readonly threads: number
}

export interface NativeQuantizedMatrix {
  readonly codes: Uint8Array // [rows * k]
  readonly scales: Float32Array // [rows * k / group], exact in bf16
  readonly zeros: Uint8Array // the same
}

export interface NativeBinding {
  /** Values of one stored weight, row after row; off the event loop. */
  readWeight(weight: NativeWeight): Promise<Float32Array>
  /** Off the event loop; holds one matrix in f32, and two of k² f64 with moments. */
  quantizeWeight(
    weight: NativeWeight,
    options: NativeQuantizeOptions,
  ): Promise<NativeQuantizedMatrix>
  capabilities(): NativeCapabilities
  readonly Model: new (options: NativeModelOptions) => NativeModel
  readonly Sampler: new (options: NativeSamplerOptions) => NativeSampler
  /** The class of what `TokenizerBuild` makes; has no constructor. */
  readonly Tokenizer: { readonly prototype: NativeTokenizer }
  /** Begins to make one, on a thread of its own. */
  readonly TokenizerBuild: {
    /** From the text of a Hugging Face `tokenizer.json`. */
    new (tokenizerJson: string): NativeTokenizerBuild
    fromPieces(pieces: NativePieces): NativeTokenizerBuild
  }
}

export const NATIVE_ABI = 7
