/**
 * What the engine needs of whatever computes: fill the batch's rows, call `execute`, read the drawn tokens.
 * Implementations live in `execution/`; one conformance suite runs on all of them. No ORT, no HTTP, no node:* here.
 */

import type { SamplingParams } from '../sampling/sampling-params.ts'

/** Upper bounds that size every per-step array. */
export interface BatchLimits {
  readonly maxNumBatchedTokens: number
  readonly maxNumSeqs: number
  readonly maxBlocksPerSeq: number
  readonly maxLogitsRows: number
  readonly blockSize: number
  readonly numBlocks: number
  readonly vocabSize: number
}

/** The per-step arrays, allocated once; see `native/binding.ts` for the meaning of those that it knows. */
export interface BatchArrays {
  readonly tokenIds: Int32Array // [maxT]
  readonly positions: Int32Array // [maxT]
  readonly slotMapping: Int32Array // [maxT]
  readonly queryStarts: Int32Array // [maxB + 1]
  readonly contextLengths: Int32Array // [maxB]
  readonly sequenceSlots: Int32Array // [maxB] sampler slot of each sequence
  readonly blockTables: Int32Array // [maxB * maxBlocksPerSeq]
  readonly logitsRows: Int32Array // [maxL]
  readonly adapterRows: Int32Array // [maxT] slot of each row's adapter; 0 = none
  readonly samplerSlots: Int32Array // [maxL]
  readonly samplePositions: Int32Array // [maxL]
  readonly targetIds: Int32Array // [maxL]
  readonly topLogprobCounts: Int32Array // [maxL]
  readonly sampledIds: Int32Array // [maxL] out
  readonly sampledLogprobs: Float32Array // [maxL] out
  readonly sampledRanks: Int32Array // [maxL] out
  readonly topIds: Int32Array // [maxL * MAX_TOP_LOGPROBS] out
  readonly topLogprobs: Float32Array // [maxL * MAX_TOP_LOGPROBS] out
}

/** What an executor can do beyond the contract; whoever schedules reads it instead of knowing implementations. */
export interface ExecutorCapabilities {
  /**
   * Whether a block that is full may stand at the same place of another sequence's block table: what a prefix cache and
   * copy-on-write need. `false`: KV belongs to one sequence from its first row to `removeSequence`.
   */
  readonly supportsPrefixReuse: boolean
  /**
   * Whether rows may be computed for tokens that are only guessed: KV of a position may be written again by a later
   * step, a sequence's rows all draw from its one sampler, and a sampler without penalties may draw several times.
   */
  readonly supportsDrafts: boolean
  /** Whether answers have the same bits with any number of compute threads; `false`: only with the same number. */
  readonly isThreadCountInvariant: boolean
  /** Whether `execute` leaves its thread free; `false`: messages wait for the end of a run of the model. */
  readonly answersWhileComputing: boolean
}

/**
 * Whole KV blocks as bytes, between steps only. A block's bytes mean the same to every executor of the same weights, KV
 * layers, types, block size and kernels.
 */
export interface KvBlocks {
  readonly blockBytes: number
  /** Copy blocks within the pool, in order: `[from, to, from, to, …]`. */
  copyBlocks(pairs: Int32Array): void
  readBlock(blockId: number, into: Uint8Array): void
  writeBlock(blockId: number, from: Uint8Array): void
}

/** The adapters that an executor holds, by slot; who loads them is no concern of the engine. */
export interface LoadedAdapters {
  has(slot: number): boolean
}

export interface Executor {
  readonly capabilities: ExecutorCapabilities
  /** Null where KV does not lie in blocks: nothing is copied, swapped or kept elsewhere then. */
  readonly kvBlocks: KvBlocks | null
  readonly limits: BatchLimits
  readonly arrays: BatchArrays
  /** `null` = it has none and takes none: `adapterRows` are then not read. */
  readonly adapters: LoadedAdapters | null
  /** Bind a sampler to `slot`, 0 ≤ slot < maxNumSeqs, for a sequence that starts or comes back with `outputIds`. */
  addSequence(
    slot: number,
    params: SamplingParams,
    choice: number,
    promptIds: Int32Array,
    outputIds: Int32Array,
  ): void
  removeSequence(slot: number): void
  /** Compute the first rows of the arrays and draw. A rejection fails the sequences of this step, not the engine. */
  execute(numTokens: number, numSeqs: number, numLogitsRows: number): Promise<void>
  close(): Promise<void>
}
