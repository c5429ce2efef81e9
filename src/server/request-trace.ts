/**
 * What is learned of one generation request while it is answered; becomes its audit record, its metrics and one log
 * line when it is settled.
 *
 * Owns the counts of one HTTP request. Keeps no text and no token ids. Does not know dialects or sockets.
 *
 * I1 a trace is settled exactly once: the first call counts, later ones do nothing, and `app.ts` settles what is left
 *    when the response is over.
 */

import type { Clock } from '../base/clock.ts'
import { affinityKey } from '../deployment/cache-domain.ts'
import type { ModelCard } from '../deployment/deployments.ts'
import type { ServedBy } from '../deployment/endpoints/routing.ts'
import type {
  GenerationRequest,
  GenerationTiming,
  StartedAdapter,
} from '../deployment/generation.ts'
import type { Metrics } from '../metrics/metrics.ts'
import {
  AUDIT_RECORD_VERSION,
  type AuditOutcome,
  type AuditRecord,
  type AuditSampling,
} from '../provenance/audit-record.ts'
import type { PromptEvent } from './event-merger.ts'
import type { StartedEvent } from './generation-run.ts'

export interface TraceOrigin {
  readonly requestId: string
  readonly principal: string
  readonly route: string
}

export interface Settlement {
  readonly outcome: AuditOutcome
  readonly httpStatus: number
  readonly errorCode: string | null
}

/** Longest alias kept: an alias is a caller's text, and a record is no place for a prompt. */
const MAX_ALIAS_LENGTH = 256

const FINISHED_REASON = {
  stop: 'stop',
  length: 'length',
  cancelled: 'abort',
  error: 'error',
} as const

export class RequestTrace {
  readonly #origin: TraceOrigin
  readonly #metrics: Metrics
  readonly #clock: Clock
  readonly #startMs: number
  readonly #startWallMs: number
  #requestedAlias: string | null = null
  #isStreamed: boolean | null = null
  /** Kept only of valid requests, where it is one of a few names. */
  #askedTier: string | null = null
  #responseId: string | null = null
  #card: ModelCard | null = null
  #requests: readonly GenerationRequest[] = []
  #systemFingerprint: string | null = null
  #served: ServedBy | null = null
  #adapter: StartedAdapter | null = null
  #fallbacks: readonly string[] = []
  #promptTokens: number | null = null
  #completionTokens = 0
  #cachedPromptTokens: number | null = null
  #timing: GenerationTiming | null = null
  #firstTokenMs: number | null = null
  /** By the choice's index over all prompts. */
  #lastTokenMs: (number | undefined)[] = []
  #finishReasons: (keyof typeof FINISHED_REASON | undefined)[] = []
  #isSettled = false

  constructor(origin: TraceOrigin, metrics: Metrics, clock: Clock) {
    this.#origin = origin
    this.#metrics = metrics
    this.#clock = clock
    this.#startMs = clock.nowMs()
    this.#startWallMs = clock.wallMs()
  }

  /** All prompts were admitted. */
  get hasStarted(): boolean {
    return this.#promptTokens !== null
  }

  get elapsedMs(): number {
    return this.#clock.nowMs() - this.#startMs
  }

  /** What was asked, as far as a body that may be invalid tells. */
  asked(body: unknown): void {
    if (typeof body !== 'object' || body === null) return
    const { model, stream, service_tier } = body as Readonly<Record<string, unknown>>
    if (typeof service_tier === 'string') this.#askedTier = service_tier
    if (typeof model === 'string') this.#requestedAlias = model.slice(0, MAX_ALIAS_LENGTH)
    if (stream === undefined || stream === null || typeof stream === 'boolean') {
      this.#isStreamed = stream === true
    }
  }

  /** The request is valid and its model known. */
  translated(responseId: string, requests: readonly GenerationRequest[], card: ModelCard): void {
    this.#responseId = responseId
    this.#requests = requests
    this.#card = card
  }

  started(events: readonly StartedEvent[]): void {
    const promptTokens = events.reduce((sum, event) => sum + event.promptTokenIds.length, 0)
    this.#promptTokens = promptTokens
    this.#systemFingerprint = events[0]?.systemFingerprint ?? null
    this.#served = events[0]?.served ?? null
    this.#adapter = events[0]?.adapter ?? null
    this.#fallbacks = [...new Set(events.flatMap(({ served }) => served?.fallbacks ?? []))]
    this.#metrics.promptTokens.inc(this.#labels, promptTokens)
  }

  /** Each event after `started`. Cost: a clock read and a few map look-ups for a delta. */
  observe({ prompt, event }: PromptEvent): void {
    const metrics = this.#metrics
    switch (event.type) {
      case 'delta':
        if (event.tokenIds.length > 0) this.#token(prompt, event.choice, event.tokenIds.length)
        return
      case 'finished':
        this.#finish(this.#choiceIndex(prompt, event.choice), event.reason)
        return
      case 'done': {
        const { cachedPromptTokens, promptTokens } = event.usage
        this.#cachedPromptTokens = (this.#cachedPromptTokens ?? 0) + cachedPromptTokens
        this.#timing = longest(this.#timing, event.timing)
        metrics.prefixCacheQueries.inc(this.#labels, promptTokens)
        metrics.prefixCacheHits.inc(this.#labels, cachedPromptTokens)
        return
      }
      default:
        return
    }
  }

  /** End the trace and give its record; `null` when it was settled before (I1). */
  settle(settlement: Settlement): AuditRecord | null {
    if (this.#isSettled) return null
    this.#isSettled = true
    if (this.hasStarted) this.#finishRest(settlement)
    this.#countOutcome(settlement)
    return this.#record(settlement)
  }

  /** Of what answered; of a request that was refused, of what it asked for. */
  get #servingConfigDigest(): string | null {
    const told = this.#adapter ?? this.#served ?? this.#card
    return told?.servingConfigDigest ?? null
  }

  get #labels(): { model_name: string } {
    return { model_name: this.#card?.id ?? 'unknown' }
  }

  #choiceIndex(prompt: number, choice: number): number {
    return prompt * (this.#requests[0]?.numChoices ?? 1) + choice
  }

  #token(prompt: number, choice: number, numTokens: number): void {
    const index = this.#choiceIndex(prompt, choice)
    const nowMs = this.#clock.nowMs()
    const lastMs = this.#lastTokenMs[index]
    if (this.#firstTokenMs === null) {
      this.#firstTokenMs = nowMs - this.#startMs
      this.#metrics.timeToFirstToken.observe(this.#labels, this.#firstTokenMs / 1000)
    }
    if (lastMs !== undefined) {
      this.#metrics.interTokenLatency.observe(this.#labels, (nowMs - lastMs) / 1000)
    }
    this.#lastTokenMs[index] = nowMs
    this.#completionTokens += numTokens
    this.#metrics.generationTokens.inc(this.#labels, numTokens)
  }

  #finish(index: number, reason: keyof typeof FINISHED_REASON): void {
    this.#finishReasons[index] = reason
    this.#metrics.requestSuccess.inc({ ...this.#labels, finished_reason: FINISHED_REASON[reason] })
  }

  /** Choices that were running when the request ended early. */
  #finishRest({ outcome }: Settlement): void {
    const numChoices = this.#requests.reduce((sum, request) => sum + request.numChoices, 0)
    for (let index = 0; index < numChoices; index += 1) {
      if (this.#finishReasons[index] !== undefined) continue
      this.#finish(index, outcome === 'cancelled' ? 'cancelled' : 'error')
    }
  }

  #countOutcome({ outcome, errorCode }: Settlement): void {
    const metrics = this.#metrics
    const labels = this.#labels
    if (outcome === 'refused') metrics.requestsRefused.inc({ code: errorCode ?? 'unknown' })
    if (outcome !== 'completed') return
    metrics.endToEndLatency.observe(labels, this.elapsedMs / 1000)
    metrics.requestPromptTokens.observe(labels, this.#promptTokens ?? 0)
    metrics.requestGenerationTokens.observe(labels, this.#completionTokens)
    if (this.#timing === null) return
    metrics.queueTime.observe(labels, this.#timing.queueMs / 1000)
    metrics.prefillTime.observe(labels, this.#timing.prefillMs / 1000)
    metrics.decodeTime.observe(labels, this.#timing.decodeMs / 1000)
  }

  #record({ outcome, httpStatus, errorCode }: Settlement): AuditRecord {
    const request = this.#requests[0]
    const cached = this.#cachedPromptTokens
    const served = this.#served
    return {
      type: 'request',
      version: AUDIT_RECORD_VERSION,
      ...this.#origin,
      responseId: this.#responseId,
      time: new Date(this.#startWallMs).toISOString(),
      outcome,
      httpStatus,
      errorCode,
      isStreamed: this.#isStreamed,
      requestedAlias: this.#requestedAlias,
      resolvedModel: served?.endpoint ?? this.#card?.id ?? null,
      modelRevision: served?.modelRevision ?? this.#card?.digest ?? null,
      quantization: served?.quantization ?? this.#card?.quantization ?? null,
      servingConfigDigest: this.#servingConfigDigest,
      systemFingerprint: this.#systemFingerprint,
      seed: request?.seed?.toString() ?? null,
      sampling: request === undefined ? null : auditSampling(request),
      numPrompts: this.#requests.length,
      promptTokens: this.#promptTokens,
      completionTokens: this.hasStarted ? this.#completionTokens : null,
      serviceTier: request?.serviceTier ?? null,
      requestedServiceTier: request === undefined ? null : this.#askedTier,
      cachedPromptTokens: cached,
      cacheStatus: cached === null ? null : cached > 0 ? 'hit' : 'miss',
      cacheKey: request === undefined ? null : affinityKey(request),
      finishReasons: this.#finishReasons.map((reason) => reason ?? 'error'),
      fallbackEvents: this.#fallbacks,
      latencies: {
        totalMs: this.elapsedMs,
        firstTokenMs: this.#firstTokenMs,
        queueMs: this.#timing?.queueMs ?? null,
        prefillMs: this.#timing?.prefillMs ?? null,
        decodeMs: this.#timing?.decodeMs ?? null,
      },
      endpoint: served?.endpoint ?? null,
      variant: served?.variant ?? null,
      variantReason: served?.reason ?? null,
      region: served?.region ?? null,
      retentionMode: served?.retention ?? null,
      adapter: this.#adapter?.name ?? null,
      adapterDigest: this.#adapter?.digest ?? null,
    }
  }
}

function auditSampling(request: GenerationRequest): AuditSampling {
  const { sampling } = request
  return {
    temperature: sampling.temperature,
    topP: sampling.topP,
    topK: sampling.topK,
    minP: sampling.minP,
    presencePenalty: sampling.presencePenalty,
    frequencyPenalty: sampling.frequencyPenalty,
    repetitionPenalty: sampling.repetitionPenalty,
    maxTokens: request.maxTokens,
    minTokens: sampling.minTokens,
    ignoreEos: sampling.ignoreEos,
    numLogitBiases: sampling.logitBias.length,
    numStopStrings: request.stop.length,
    numChoices: request.numChoices,
  }
}

/** Prompts of one request run side by side: the one that took longest is what the caller waited for. */
function longest(first: GenerationTiming | null, second: GenerationTiming): GenerationTiming {
  return first !== null && first.totalMs >= second.totalMs ? first : second
}
