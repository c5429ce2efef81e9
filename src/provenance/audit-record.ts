/**
 * What is kept of one answered request: who asked which model under which configuration, and what came of it.
 *
 * Types only. Plain JSON, one record a request, written by `audit-log.ts`.
 *
 * I1 no text of a prompt, an answer, a stop string or an error's details is in a record; token ids are not either.
 * I2 every field is always present, `null` when unknown, so that a reader can tell missing from empty.
 * I3 meaning never changes within a `version`. 2 tells the endpoint: its fields at the end, and what a variant of it says
 *    of revision, quantization and configuration in the fields that 1 filled from the model.
 */

export const AUDIT_RECORD_VERSION = 2

export type AuditOutcome = 'completed' | 'cancelled' | 'failed' | 'refused'

/** The wishes of the request as they were applied; counts stand where a value would be the caller's text. */
export interface AuditSampling {
  readonly temperature: number
  readonly topP: number
  readonly topK: number
  readonly minP: number
  readonly presencePenalty: number
  readonly frequencyPenalty: number
  readonly repetitionPenalty: number
  readonly maxTokens: number | null
  readonly minTokens: number
  readonly ignoreEos: boolean
  readonly numLogitBiases: number
  readonly numStopStrings: number
  readonly numChoices: number
}

/** Milliseconds; `null` for a phase that was not reached. */
export interface AuditLatencies {
  /** From the parsed request to the end of the answer, as the server saw it. */
  readonly totalMs: number
  readonly firstTokenMs: number | null
  readonly queueMs: number | null
  readonly prefillMs: number | null
  readonly decodeMs: number | null
}

export interface AuditRecord {
  readonly type: 'request'
  readonly version: typeof AUDIT_RECORD_VERSION
  /** The answer's `x-request-id`; the caller may have chosen it. */
  readonly requestId: string
  /** The answer's own id, unique; `null` when the request was refused before it had one. */
  readonly responseId: string | null
  /** ISO 8601 in UTC: when the request arrived. */
  readonly time: string
  readonly principal: string
  /** Route that was asked, such as `/v1/chat/completions`. */
  readonly route: string
  readonly outcome: AuditOutcome
  /** HTTP status of the answer; a stream that fails later keeps its 200. 499: the caller hung up before a status. */
  readonly httpStatus: number
  /** Code of the error that ended it, in our words (`DEPLOYMENT_OVERLOADED`). */
  readonly errorCode: string | null
  readonly isStreamed: boolean | null
  readonly requestedAlias: string | null
  readonly resolvedModel: string | null
  /** Digest of the weights that answered. */
  readonly modelRevision: string | null
  /** Format such as `Q4_1`; of an endpoint's variant the word that requests use, such as `int4`. */
  readonly quantization: string | null
  readonly servingConfigDigest: string | null
  readonly systemFingerprint: string | null
  /** Decimal, because it may need 64 bits. */
  readonly seed: string | null
  readonly sampling: AuditSampling | null
  readonly numPrompts: number
  readonly promptTokens: number | null
  readonly completionTokens: number | null
  /** The tier that served it, and the one asked for in the caller's words; `null` when none was. */
  readonly serviceTier: string | null
  readonly requestedServiceTier: string | null
  readonly cachedPromptTokens: number | null
  /** `hit` when any prompt token's KV was reused. */
  readonly cacheStatus: 'hit' | 'miss' | null
  /** Stands for the caller's `prompt_cache_key`: equal for equal keys of one principal; `null` when none was given. */
  readonly cacheKey: string | null
  /** One a choice, in the order of their index: `stop`, `length`, `cancelled` or `error`. */
  readonly finishReasons: readonly string[]
  /** What was passed over before the endpoint that answered, each with its reason; empty = the first choice answered. */
  readonly fallbackEvents: readonly string[]
  readonly latencies: AuditLatencies
  /** Who served it; `null` for a server of one model, and for what was refused before. */
  readonly endpoint: string | null
  readonly variant: string | null
  /** Why that variant of that endpoint, in one sentence. */
  readonly variantReason: string | null
  readonly region: string | null
  /** `none`: nothing of the request is kept but this record, which holds no text. */
  readonly retentionMode: 'none' | 'standard' | null
  /** Adapter that answered, and the digest of its files; `null` = the base alone. The configuration's digest counts it in. */
  readonly adapter: string | null
  readonly adapterDigest: string | null
}

/**
 * Written once at start: every setting with its value, so that later records can be read without this machine; and where
 * endpoints have a history, the end of it.
 */
export interface ConfigurationRecord {
  readonly type: 'configuration'
  readonly version: typeof AUDIT_RECORD_VERSION
  readonly time: string
  readonly settings: Readonly<Record<string, string | number | boolean | null>>
}

export type AuditEntry = AuditRecord | ConfigurationRecord
