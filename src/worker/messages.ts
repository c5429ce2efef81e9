/**
 * What crosses the boundary between the API process and a replica's engine process: one message a step each way.
 * Plain data for structured clone (`fork` with `serialization: 'advanced'`); no functions, no classes.
 */

import type { WireError } from '../base/errors.ts'
import type { SequenceId } from '../base/ids.ts'
import type { KvDtype } from '../base/kv-dtype.ts'
import type { WeightsChoice } from '../base/weights-choice.ts'
import type { SchedulingOptions } from '../engine/scheduling-options.ts'
import type { EngineCoreStats, SequenceSpec, SequenceUpdate } from '../engine/updates.ts'
import type { AdapterSource } from '../execution/executor-facts.ts'

/** The engine defines what it takes and tells; rooms above the worker know these types from here. */
export type { ServiceTier } from '../engine/service-tier.ts'
export type {
  LogprobEntry,
  SequenceFinish,
  SequenceSpec,
  SequenceTiming,
  SequenceUpdate,
} from '../engine/updates.ts'

/** An adapter to hold, in a slot that sequences name. */
export type { AdapterSource as AdapterSpec } from '../execution/executor-facts.ts'

/** What came of loading or unloading; `null` = it was done. */
export interface AdapterOutcome {
  readonly slot: number
  readonly error: WireError | null
}

/** Everything that an engine process is told once, at start. All values are decided; nothing in here says auto. */
export interface EngineOptions {
  /** Local path of the checkpoint: a GGUF file, or a Hugging Face folder. */
  readonly checkpointPath: string
  /** Absent = all as stored. */
  readonly weights?: WeightsChoice
  /** Where packed weights are kept, and of which checkpoint; absent = in memory only. */
  readonly packs?: {
    readonly folder: string
    readonly limitBytes: number
    readonly modelDigest: string
  }
  /** Where blocks go that the prefix cache has to forget, and what their content depends on besides these options. */
  readonly kvDisk?: {
    readonly folder: string
    readonly limitBytes: number
    readonly modelDigest: string
    /** Ingot's own. */
    readonly version: string
  }
  readonly threads: number
  readonly activations: 'f32' | 'bf16' | 'int8'
  readonly kvDtype: KvDtype
  readonly kvMemoryBytes: number
  readonly blockSize: number
  readonly maxNumBatchedTokens: number
  readonly maxNumSeqs: number
  /** Longest sequence, prompt and answer together; at most what the checkpoint allows. */
  readonly maxContextTokens: number
  /** Every id that ends an answer; the tokenizer's description knows them, the engine process has no tokenizer. */
  readonly eosTokenIds: readonly number[]
  readonly scheduling: SchedulingOptions
  /** A smaller checkpoint of the same vocabulary that guesses; its KV comes out of `kvMemoryBytes`, token for token. */
  readonly draft?: Pick<EngineOptions, 'checkpointPath' | 'packs' | 'weights'>
  /** Loaded before it is ready; one that cannot be is told of, and does not keep the engine from starting. */
  readonly adapters?: readonly AdapterSource[]
  /** Where step traces are written; without it SIGUSR2 is ignored. */
  readonly traceFolder?: string
}

export type ToEngine =
  | { readonly type: 'start'; readonly options: EngineOptions }
  | {
      readonly type: 'work'
      readonly add: readonly SequenceSpec[]
      readonly cancel: readonly SequenceId[]
    }
  | { readonly type: 'load-adapter'; readonly adapter: AdapterSource }
  | { readonly type: 'unload-adapter'; readonly slot: number }
  | { readonly type: 'ping'; readonly nonce: number }
  | { readonly type: 'trace'; readonly action: TraceAction }
  | { readonly type: 'stop' }

export type TraceAction = 'start' | 'stop'

/** What became of switching the step trace. */
export interface TraceAnswer {
  readonly isOn: boolean
  /** Where what was recorded was written. */
  readonly file: string | null
  /** Why there is none, in words for people. */
  readonly reason: string | null
}

export interface EngineStats extends EngineCoreStats {
  readonly rssBytes: number
}

/** What a started engine says of itself. */
export interface EngineDescription {
  readonly modelType: string
  readonly vocabSize: number
  readonly maxContextTokens: number
  readonly numBlocks: number
  readonly blockSize: number
  readonly kvBytesPerToken: number
  readonly weightsBytes: number
  readonly weightsHeldAs: 'mapped' | 'packed' | 'memory'
  readonly kernels: string
  readonly ortVersion: string
  /** Whether pings wait while the model computes; the watchdog has more patience then. */
  readonly blocksThread: boolean
  /** Of the options' adapters, one each. */
  readonly adapters: readonly AdapterOutcome[]
  readonly loadMs: number
}

export type FromEngine =
  | { readonly type: 'ready'; readonly description: EngineDescription }
  | { readonly type: 'progress'; readonly stage: string; readonly fraction: number }
  | {
      readonly type: 'step'
      readonly updates: readonly SequenceUpdate[]
      readonly stats: EngineStats
    }
  | ({ readonly type: 'adapter' } & AdapterOutcome)
  | { readonly type: 'pong'; readonly nonce: number; readonly stats: EngineStats }
  | { readonly type: 'traced'; readonly answer: TraceAnswer }
  | { readonly type: 'failed'; readonly error: WireError }
