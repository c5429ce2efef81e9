/**
 * The canonical request and the one event stream inside: what every dialect translates to and from (D8).
 * Knows no dialect's field names and no engine internals.
 */

import type { RequestId } from '../base/ids.ts'
import type { SamplingParams } from '../sampling/sampling-params.ts'
import type { ServiceTier } from '../worker/messages.ts'
import type { RoutingConstraints, ServedBy } from './endpoints/routing.ts'

export type { ServiceTier } from '../worker/messages.ts'

export interface ChatMessage {
  readonly role: string
  readonly content: string | null
  readonly name?: string
  readonly toolCalls?: readonly unknown[]
  readonly toolCallId?: string
}

export type GenerationInput =
  | {
      readonly kind: 'chat'
      readonly messages: readonly ChatMessage[]
      readonly tools: readonly unknown[] | null
    }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'tokens'; readonly tokenIds: readonly number[] }

/** `maxTokens: null` = as many as the context allows. `seed: null` = drawn by the deployment and recorded. */
export interface GenerationRequest {
  readonly id: RequestId
  /** The model name or alias as the caller wrote it. */
  readonly requestedModel: string
  /** Name of the base's adapter that answers; set where names are resolved. Absent = none. */
  readonly adapter?: string
  /** Who asks: the bearer token's principal or the local default. */
  readonly principal: string
  readonly input: GenerationInput
  readonly sampling: Omit<SamplingParams, 'seed' | 'maxTokens'>
  readonly seed: bigint | null
  readonly maxTokens: number | null
  readonly numChoices: number
  /** Strings that end a choice; the match is left out of the text. */
  readonly stop: readonly string[]
  /** Narrows whose cached prefixes this request may find, and who may find its own; `null` = all of its principal's. */
  readonly cacheSalt: string | null
  /** Requests of one principal with one key should meet the same replica; changes no answer. `null` = any will do. */
  readonly cacheKey: string | null
  /** The tier that serves it; what was asked for in a dialect's words is settled before. */
  readonly serviceTier: ServiceTier
  /** Milliseconds it may wait before it begins to be computed; `null` = as long as it takes. */
  readonly maxQueueMs: number | null
  /** What may serve it; `null` = whatever its model's name resolves to. */
  readonly routing: RoutingConstraints | null
  /** Milliseconds it waits for a model that must be loaded first; `null` = as the endpoint says. */
  readonly coldStartWaitMs: number | null
}

/** One token with its text, for logprobs in any dialect. `bytes` are exact even where the text is not whole UTF-8. */
export interface TokenLogprob {
  readonly tokenId: number
  readonly text: string
  readonly bytes: Uint8Array
  readonly logprob: number
  readonly rank: number
  readonly top: readonly {
    readonly tokenId: number
    readonly text: string
    readonly bytes: Uint8Array
    readonly logprob: number
  }[]
}

export type FinishReason = 'stop' | 'length' | 'cancelled' | 'error'

export interface GenerationUsage {
  readonly promptTokens: number
  readonly cachedPromptTokens: number
  /** Over all choices, stop tokens included. */
  readonly completionTokens: number
  /** Guessed tokens over all choices: right ones are among `completionTokens`, wrong ones nowhere. */
  readonly acceptedDraftTokens: number
  readonly rejectedDraftTokens: number
}

export interface GenerationTiming {
  readonly queueMs: number
  readonly prefillMs: number
  readonly decodeMs: number
  readonly totalMs: number
}

/** The adapter that answers, as it was when the request began. */
export interface StartedAdapter {
  readonly name: string
  /** `sha256:` and 64 hex digits. */
  readonly digest: string
  /** Of base and adapter together. */
  readonly servingConfigDigest: string
}

/** Events come in this order: (`waiting`), `started`, (`prompt-logprobs`), deltas, one `finished` a choice, one `done`. */
export type GenerationEvent =
  /** It is held while its model is being loaded: a streaming route sends its headers now, so that nobody gives up. */
  | { readonly type: 'waiting'; readonly reason: string }
  | {
      readonly type: 'started'
      readonly modelId: string
      readonly systemFingerprint: string
      /** Absent = the base alone. */
      readonly adapter?: StartedAdapter
      readonly promptTokenIds: Int32Array
      readonly promptText: string | null
      /** Absent where the server has one model and nothing to choose. */
      readonly served?: ServedBy
    }
  /** One entry a prompt token; `null` for the first. Of choice 0. */
  | { readonly type: 'prompt-logprobs'; readonly entries: readonly (TokenLogprob | null)[] }
  /** `text` may be empty (a held-back partial character or possible stop string) while `tokenIds` is not. */
  | {
      readonly type: 'delta'
      readonly choice: number
      readonly text: string
      readonly tokenIds: readonly number[]
      readonly logprobs: readonly TokenLogprob[] | null
    }
  | {
      readonly type: 'finished'
      readonly choice: number
      readonly reason: FinishReason
      readonly stopString: string | null
      readonly stopTokenId: number | null
    }
  | {
      readonly type: 'done'
      readonly usage: GenerationUsage
      readonly timing: GenerationTiming
      readonly seed: bigint
    }
