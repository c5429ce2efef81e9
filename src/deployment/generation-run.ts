/**
 * One request from its input to its last event: prompt, admission, sequences, events. Owns the request's choices and
 * its place in admission. Does not know how a replica lives; does not know dialects.
 *
 *   idle ── first next() ──▶ preparing ── admitted, submitted ──▶ running ── all choices finished ──▶ ended
 *                               └────────── refused, aborted, lost, reader left ──────────────────────┘
 *
 * I1 every sequence that was admitted is released once, when the replica says that it ended or was lost; the reader's
 *    end may come earlier (abort, stop string, an error of another choice) and cancels what still runs.
 * I2 after the end no event is added.
 */

import type { Clock } from '../base/clock.ts'
import { reviveServingError, type ServingError } from '../base/errors.ts'
import type { SequenceId } from '../base/ids.ts'
import type { SamplingParams } from '../sampling/sampling-params.ts'
import type { ChatTemplate } from '../text/chat-template.ts'
import { refuseStops } from '../text/no-tokenizer.ts'
import { StopStrings } from '../text/stop-matcher.ts'
import type { Tokenizer } from '../text/tokenizer.ts'
import type { LogprobEntry, SequenceTiming, SequenceUpdate } from '../worker/messages.ts'
import type { Admission } from './admission.ts'
import { affinityKey, cacheDomain } from './cache-domain.ts'
import { ChoiceStream } from './choice-stream.ts'
import { EventQueue } from './event-queue.ts'
import type {
  GenerationEvent,
  GenerationRequest,
  StartedAdapter,
  TokenLogprob,
} from './generation.ts'
import { answerLimit, makePrompt } from './prompt.ts'
import type { ReplicaSequences, SequenceListener } from './replica.ts'
import { tokenLogprob } from './token-logprob.ts'

/** The adapter that answers, and where the engine has it. */
export interface RunAdapter extends StartedAdapter {
  readonly slot: number
}

/** What all requests of a deployment share, or of one of its adapters. */
export interface RunTools {
  readonly modelId: string
  readonly tokenizer: Tokenizer
  readonly template: Pick<ChatTemplate, 'render'>
  readonly vocabSize: number
  readonly maxContextTokens: number
  readonly admission: Admission
  readonly replicas: ReplicaSequences
  readonly clock: Clock
  nextSequenceId(): SequenceId
  /** For requests that name no seed. */
  drawSeed(): bigint
  /** Known once the replica is ready. @throws ServingError 503 before that, and while draining */
  assertReady(): { readonly systemFingerprint: string; readonly adapter: RunAdapter | null }
  /** The reader asked for its first event. */
  onStarted(run: GenerationRun): void
  /** The run holds no sequence any more; may be said more than once. */
  onEnded(run: GenerationRun): void
  /** It was answered whole. @param numTokens - of each choice @param decodeMs - from the first token to the last */
  onAnswered(numTokens: number, decodeMs: number): void
}

export class GenerationRun implements SequenceListener {
  readonly events: EventQueue
  readonly #tools: RunTools
  readonly #request: GenerationRequest
  readonly #signal: AbortSignal
  readonly #abort = (): void => this.#fail(this.#signal.reason)
  readonly #choices = new Map<SequenceId, ChoiceStream>()
  /** Admitted and not yet ended in the engine. */
  readonly #live = new Set<SequenceId>()
  readonly #promptLogprobs: (TokenLogprob | null)[] = [null]
  /** Events of choices that are ahead of the prompt's logprobs, which must come before any delta. */
  readonly #held: GenerationEvent[] = []
  readonly #seed: bigint
  #started: GenerationEvent | null = null
  #startMs = 0
  #numPromptTokens = 0
  #firstTiming: SequenceTiming | null = null
  /** The least over the choices: what one of them had to compute is not cached. */
  #numCachedTokens: number | null = null
  #numAcceptedDrafts = 0
  #numRejectedDrafts = 0

  constructor(tools: RunTools, request: GenerationRequest, signal: AbortSignal) {
    this.#tools = tools
    this.#request = request
    this.#signal = signal
    this.#seed = request.seed ?? tools.drawSeed()
    this.events = new EventQueue({
      onStart: () => void this.#start(),
      onReturn: () => this.#cancelLive(),
    })
  }

  /** Ask the engine to end every choice; the reader gets `finished` with `cancelled`. */
  cancel(): void {
    this.#cancelLive()
  }

  onUpdate(update: SequenceUpdate): void {
    const choice = this.#choices.get(update.id)
    if (choice === undefined) return
    if (update.finish !== null) this.#release(update.id)
    if (this.events.isClosed) return
    if (update.error !== null) {
      this.#fail(reviveServingError(update.error))
      return
    }
    this.#flushStarted()
    this.#observe(update.timing, update.finish !== null)
    this.#acceptPromptLogprobs(update.promptLogprobs ?? [])
    for (const event of choice.accept(update)) this.#give(event)
    if (choice.stoppedByText && update.finish === null) this.#tools.replicas.cancel([update.id])
    if ([...this.#choices.values()].every(({ isFinished }) => isFinished)) this.#finish()
  }

  onLost(id: SequenceId, error: ServingError): void {
    this.#release(id)
    this.#fail(error)
  }

  async #start(): Promise<void> {
    const { clock, admission, replicas } = this.#tools
    this.#startMs = clock.nowMs()
    this.#tools.onStarted(this)
    if (this.#signal.aborted) {
      this.#fail(this.#signal.reason)
      return
    }
    this.#signal.addEventListener('abort', this.#abort, { once: true })
    try {
      this.#tools.assertReady()
      refuseStops(this.#tools.tokenizer, this.#request.stop)
      const stops = new StopStrings(this.#request.stop)
      const prompt = await makePrompt(this.#request.input, this.#tools)
      if (this.events.isClosed) return
      const { systemFingerprint, adapter } = this.#tools.assertReady()
      const specs = this.#makeChoices(prompt.tokenIds, stops, adapter)
      admission.admit(specs.length)
      for (const { id } of specs) this.#live.add(id)
      try {
        replicas.submit(specs, this)
      } catch (error) {
        for (const { id } of specs) this.#release(id)
        throw error
      }
      this.#begin({
        type: 'started',
        modelId: this.#tools.modelId,
        systemFingerprint,
        ...(adapter === null ? {} : { adapter: startedAdapter(adapter) }),
        promptTokenIds: prompt.tokenIds,
        promptText: prompt.text,
      })
      // A prompt of one token has only the first entry, which is null.
      this.#acceptPromptLogprobs([])
    } catch (error) {
      this.#fail(error)
    }
  }

  #makeChoices(promptIds: Int32Array, stops: StopStrings, adapter: RunAdapter | null) {
    const { numChoices, input, sampling } = this.#request
    const { serviceTier, principal, maxQueueMs } = this.#request
    const { tokenizer, maxContextTokens } = this.#tools
    this.#numPromptTokens = promptIds.length
    const maxTokens = answerLimit(
      input,
      promptIds.length,
      this.#request.maxTokens,
      maxContextTokens,
    )
    const { minTokens } = sampling
    const domain = cacheDomain(this.#request, adapter?.digest ?? null)
    const affinity = affinityKey(this.#request)
    let firstId: SequenceId | null = null
    return Array.from({ length: numChoices }, (_, choice) => {
      const id = this.#tools.nextSequenceId()
      this.#choices.set(id, new ChoiceStream({ id, choice, tokenizer, stops, minTokens }))
      const params: SamplingParams = {
        ...sampling,
        seed: this.#seed,
        maxTokens,
        // The same for every choice, so they are computed once.
        promptLogprobs: choice === 0 ? sampling.promptLogprobs : null,
      }
      firstId ??= id
      const shared = {
        ...(choice === 0 ? {} : { leader: firstId }),
        ...(affinity === null ? {} : { cacheKey: affinity }),
        ...(adapter === null ? {} : { adapter: adapter.slot }),
      }
      const own = { id, choice, promptIds, params, cacheDomain: domain, ...shared }
      return { ...own, tier: serviceTier, tenant: principal, maxQueueMs }
    })
  }

  /** One that may be refused for its wait is not begun before the engine has let it in, so that it can be refused whole. */
  #begin(started: GenerationEvent): void {
    if (this.#request.maxQueueMs === null) this.events.push(started)
    else this.#started = started
  }

  #flushStarted(): void {
    if (this.#started === null) return
    const started = this.#started
    this.#started = null
    this.events.push(started)
  }

  #observe(timing: SequenceTiming | null, isLast: boolean): void {
    if (timing === null) return
    if (isLast) {
      this.#numAcceptedDrafts += timing.numAcceptedDrafts
      this.#numRejectedDrafts += timing.numRejectedDrafts
    }
    this.#firstTiming ??= timing
    const { numCachedTokens } = timing
    this.#numCachedTokens = Math.min(this.#numCachedTokens ?? numCachedTokens, numCachedTokens)
  }

  get #awaitsPromptLogprobs(): boolean {
    if (this.#request.sampling.promptLogprobs === null) return false
    return this.#promptLogprobs.length <= this.#numPromptTokens
  }

  #acceptPromptLogprobs(entries: readonly LogprobEntry[]): void {
    if (!this.#awaitsPromptLogprobs) return
    const known = this.#promptLogprobs
    for (const entry of entries) known.push(tokenLogprob(this.#tools.tokenizer, entry))
    if (known.length < this.#numPromptTokens) return
    this.events.push({ type: 'prompt-logprobs', entries: [...known] })
    // One more than the prompt has: given out.
    known.push(null)
    for (const event of this.#held.splice(0)) this.events.push(event)
  }

  #give(event: GenerationEvent): void {
    if (this.#awaitsPromptLogprobs) this.#held.push(event)
    else this.events.push(event)
  }

  #finish(): void {
    // Cancelled before its prompt was computed: what was held comes after all.
    for (const event of this.#held.splice(0)) this.events.push(event)
    const timing = this.#firstTiming
    const totalMs = this.#tools.clock.nowMs() - this.#startMs
    const queueMs = timing?.queueMs ?? 0
    const prefillMs = timing?.prefillMs ?? 0
    let completionTokens = 0
    for (const { numTokens } of this.#choices.values()) completionTokens += numTokens
    const decodeMs = Math.max(0, totalMs - queueMs - prefillMs)
    this.#tools.onAnswered(completionTokens / this.#choices.size, decodeMs)
    const done: GenerationEvent = {
      type: 'done',
      usage: {
        promptTokens: this.#numPromptTokens,
        cachedPromptTokens: this.#numCachedTokens ?? 0,
        completionTokens,
        acceptedDraftTokens: this.#numAcceptedDrafts,
        rejectedDraftTokens: this.#numRejectedDrafts,
      },
      timing: { queueMs, prefillMs, decodeMs, totalMs },
      seed: this.#seed,
    }
    this.events.push(done)
    this.events.end()
    this.#detach()
  }

  #fail(reason: unknown): void {
    this.events.fail(reason)
    this.#cancelLive()
    this.#detach()
  }

  #cancelLive(): void {
    if (this.#live.size > 0) this.#tools.replicas.cancel([...this.#live])
    else this.#detach()
  }

  #release(id: SequenceId): void {
    if (!this.#live.delete(id)) return
    this.#tools.admission.release()
    this.#detach()
  }

  /** Let go of everything once the reader has its end and the engine holds nothing. */
  #detach(): void {
    if (!this.events.isClosed) return
    this.#signal.removeEventListener('abort', this.#abort)
    if (this.#live.size === 0) this.#tools.onEnded(this)
  }
}

function startedAdapter({ name, digest, servingConfigDigest }: RunAdapter): StartedAdapter {
  return { name, digest, servingConfigDigest }
}
