/**
 * What the engine is given and what it tells: plain data that survives a structured clone, so `worker/messages.ts`
 * uses these types as they are. Made at the edge of a step; nothing in here is read by the scheduler.
 */

import type { WireError } from '../base/errors.ts'
import type { SequenceId } from '../base/ids.ts'
import type { SamplingParams } from '../sampling/sampling-params.ts'
import type { KvReuseStats } from './kv-reuse.ts'
import type { KvTierStats } from './kv-tier.ts'
import type { ServiceTier } from './service-tier.ts'

/** One token stream to run. */
export interface SequenceSpec {
  readonly id: SequenceId
  readonly promptIds: Int32Array
  readonly params: SamplingParams
  /** Index of the choice within its request; part of the key of every random draw. */
  readonly choice: number
  /** Four words, 128 bits: sequences find each other's cached prefixes only where this is equal. */
  readonly cacheDomain: Int32Array
  /** Sequences with one key should meet the same engine; whoever chooses among engines reads it, no engine does. */
  readonly cacheKey?: string
  /** Slot of the adapter that answers, 1 ≤ slot; absent = none. The domain is this adapter's alone. */
  readonly adapter?: number
  /** A sequence with the same prompt and domain, handed over before: its blocks are waited for. */
  readonly leader?: SequenceId
  readonly tier: ServiceTier
  /** Whose share of the engine it uses. */
  readonly tenant: string
  /** Milliseconds it may wait for its first admission; `null` = as long as it takes. */
  readonly maxQueueMs: number | null
}

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
  /** Tokens drawn in this step, several where guesses were right; none while the prompt is still being computed. */
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
  /** Prompt tokens whose KV was found in the prefix cache at the first admission. */
  readonly numCachedTokens: number
  /** Guessed tokens that were right, and that were computed for nothing. */
  readonly numAcceptedDrafts: number
  readonly numRejectedDrafts: number
}

/** What `EngineCore.step` gives back. Updates that fell due between steps (a cancel) come first. */
export interface StepResult {
  readonly updates: readonly SequenceUpdate[]
}

/** Counters since the engine was made, and the state now. `stepMs` and `numScheduledTokens` are of the last step. */
export interface EngineCoreStats extends KvReuseStats {
  readonly numRunning: number
  readonly numWaiting: number
  /** Free blocks, those that the prefix cache still knows among them. */
  readonly numFreeBlocks: number
  readonly numCachedBlocks: number
  readonly numBlocks: number
  readonly numSteps: number
  readonly numPreemptions: number
  /** Prompt tokens of admitted sequences; recomputed tokens are not counted again. */
  readonly numPromptTokens: number
  readonly numGeneratedTokens: number
  /** Guesses that were computed, and those of them that were right. */
  readonly numDraftTokens: number
  readonly numAcceptedDrafts: number
  /** What a sequence that came now would wait to be let in, as predicted. */
  readonly predictedWaitMs: number
  readonly stepMs: number
  readonly numScheduledTokens: number
  /** Null without a tier. */
  readonly tier: KvTierStats | null
}
