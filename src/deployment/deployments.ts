/**
 * The port through which the HTTP server and the commands reach models; implemented by this room, faked in API tests.
 *
 * Owns nothing: types only. Does not know HTTP, a dialect's field names or the engine's internals.
 *
 * What callers may rely on:
 * I1 the iterable of `generate` fails before its first event when the request is refused, and yields `started` as soon
 *    as it is admitted, before any prompt token is computed: a streaming route flushes its headers at that moment. While
 *    its model is being loaded it may yield `waiting` first; a refusal after that is an error in the middle.
 * I2 each choice ends with exactly one `finished`, and the iterable with exactly one `done`, unless it throws.
 * I3 once `signal` is aborted, the sequences are cancelled without waiting for the consumer to pull again, and the
 *    iterable ends or throws promptly; `return()` on the iterator has the same effect.
 */

import type { GenerationEvent, GenerationRequest } from './generation.ts'

export interface Deployments {
  /** The models that can be asked for, in a stable order; one card a model, not one an alias. */
  list(): readonly ModelCard[]
  /** The card that a model's id or one of its aliases stands for. Cost: one map look-up. */
  find(name: string): ModelCard | undefined
  /**
   * Run one request: template, tokens, admission, engine, text.
   *
   * @throws ServingError before the first event: 404 for an unknown model, 400 when the prompt (and `maxTokens`, where
   * the request names one) does not fit the context, 429 with `retryAfterSeconds` when the queue is full, 503 with
   * `retryAfterSeconds` while no replica is ready; in the middle: 503 when the replica died, 500 on a fault of ours.
   */
  generate(request: GenerationRequest, signal: AbortSignal): AsyncIterable<GenerationEvent>
  /** Text of one token of a model, special tokens by their name. 0 ≤ tokenId < vocabSize. */
  tokenText(modelId: string, tokenId: number): string
  /** Text of a prompt that was given as ids, special tokens left out; for `echo`. */
  decode(modelId: string, tokenIds: readonly number[]): string
  /** The truth at this moment; reads state that is there already, asks no replica. */
  health(): HealthReport
}

/** What is known of one deployed model, for listings and for the audit record. */
export interface ModelCard {
  /** Name under which it is served, such as `smollm2-135m-instruct`. */
  readonly id: string
  readonly aliases: readonly string[]
  /** Seconds since 1970 at which it was deployed. */
  readonly created: number
  readonly ownedBy: string
  /** Digest of the weights that answer, `sha256:` and 64 hex digits. */
  readonly digest: string
  /** Name of the weights' format, such as `Q4_1`. */
  readonly quantization: string
  /** Digest over everything that may change an answer besides the weights, `sha256:` and 64 hex digits. */
  readonly servingConfigDigest: string
  /** Prompt and answer together. */
  readonly maxContextTokens: number
  readonly vocabSize: number
  /** Whether the checkpoint carries a chat template; chat requests are refused (400) when it does not. */
  readonly hasChatTemplate: boolean
  /** Of a base with an adapter, which has a card of its own; absent = the base itself. */
  readonly adapter?: {
    readonly name: string
    /** `sha256:` and 64 hex digits, see `digestAdapter`. */
    readonly digest: string
    /** Id of the base. */
    readonly parent: string
  }
}

/** `degraded`: answers, but with fewer replicas than asked for. `down`: no replica, and none is starting. */
export type HealthStatus = 'ok' | 'starting' | 'degraded' | 'down'

export type ReplicaState = 'starting' | 'ready' | 'restarting' | 'failed' | 'stopped'

export interface ReplicaHealth {
  readonly modelId: string
  /** Index within its deployment. */
  readonly replica: number
  readonly state: ReplicaState
  readonly pid: number | null
  readonly numRestarts: number
  readonly numRunning: number
  readonly numWaiting: number
  readonly numFreeBlocks: number
  readonly numBlocks: number
  /** Milliseconds since this state began. */
  readonly sinceMs: number
  /** Why it is not ready, in one sentence; no prompt text. */
  readonly reason: string | null
}

export interface HealthReport {
  readonly status: HealthStatus
  /** Models without a replica that should serve and do not: one sentence each, without where their weights come from. */
  readonly reasons?: readonly string[]
  readonly replicas: readonly ReplicaHealth[]
}
