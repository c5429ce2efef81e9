/**
 * What crosses the boundary between the API process and a replica's engine process: one message a step each way.
 * Plain data for structured clone (`fork` with `serialization: 'advanced'`); no functions, no classes.
 */

import type { WireError } from '../base/errors.ts'
import type { SequenceId } from '../base/ids.ts'
import type { SamplingParams } from '../sampling/sampling-params.ts'

/** Everything that an engine process is told once, at start. All values are decided; nothing in here says auto. */
export interface EngineOptions {
  /** Local path of the checkpoint: a GGUF file (a folder, once the formats exist). */
  readonly checkpointPath: string
  readonly threads: number
  readonly activations: 'f32' | 'int8'
  readonly kvDtype: 'f32' | 'bf16'
  readonly kvMemoryBytes: number
  readonly blockSize: number
  readonly maxNumBatchedTokens: number
  readonly maxNumSeqs: number
  /** Longest sequence, prompt and answer together; at most what the checkpoint allows. */
  readonly maxContextTokens: number
}

/** One token stream to run. */
export interface SequenceSpec {
  readonly id: SequenceId
  readonly promptIds: Int32Array
  readonly params: SamplingParams
  /** Index of the choice within its request; part of the key of every random draw. */
  readonly choice: number
}

export type ToEngine =
  | { readonly type: 'start'; readonly options: EngineOptions }
  | { readonly type: 'work'; readonly add: readonly SequenceSpec[]; readonly cancel: readonly SequenceId[] }
  | { readonly type: 'ping'; readonly nonce: number }
  | { readonly type: 'stop' }

export type SequenceFinish = 'stop' | 'length' | 'cancelled' | 'error'

/** Logprobs of one position: the token itself first, then the alternatives. */
export interface LogprobEntry {
  readonly tokenId: number
  readonly logprob: number
  readonly rank: number
  readonly topIds: readonly number[]
  readonly topLogprobs: readonly number[]
}

/** What happened to one sequence in a step. */
export interface SequenceUpdate {
  readonly id: SequenceId
  /** Tokens drawn in this step; none while the prompt is still being computed. */
  readonly tokenIds: readonly number[]
  /** As long as `tokenIds` when logprobs were asked for. */
  readonly logprobs: readonly LogprobEntry[] | null
  /** Entries for prompt positions computed in this step, from position 1 on, when asked for. */
  readonly promptLogprobs: readonly LogprobEntry[] | null
  readonly finish: SequenceFinish | null
  /** The token that ended the sequence when `finish` is `stop`. It is among `tokenIds`. */
  readonly stopTokenId: number | null
  readonly error: WireError | null
  /** Set on the first update that carries a token, and on the last. */
  readonly timing: SequenceTiming | null
}

/** Milliseconds of the engine's monotonic clock, as differences from the arrival in the engine. */
export interface SequenceTiming {
  readonly queueMs: number
  readonly prefillMs: number
  readonly totalMs: number
  readonly numPreemptions: number
  readonly numCachedTokens: number
}

export interface EngineStats {
  readonly numRunning: number
  readonly numWaiting: number
  readonly numFreeBlocks: number
  readonly numBlocks: number
  readonly numSteps: number
  readonly numPreemptions: number
  readonly numPromptTokens: number
  readonly numGeneratedTokens: number
  readonly stepMs: number
  readonly numScheduledTokens: number
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
  readonly kernels: string
  readonly ortVersion: string
  readonly loadMs: number
}

export type FromEngine =
  | { readonly type: 'ready'; readonly description: EngineDescription }
  | { readonly type: 'progress'; readonly stage: string; readonly fraction: number }
  | { readonly type: 'step'; readonly updates: readonly SequenceUpdate[]; readonly stats: EngineStats }
  | { readonly type: 'pong'; readonly nonce: number; readonly stats: EngineStats }
  | { readonly type: 'failed'; readonly error: WireError }
