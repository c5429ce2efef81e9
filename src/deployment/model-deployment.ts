/**
 * One served model: its text tools, its admission and its replicas. Owns the open requests. Does not know how it is
 * named by requests, HTTP, or how replicas come and go. JavaScript thread only.
 *
 * I1 once `drain` was called nothing is admitted; when it resolves nothing is open.
 * I2 the card never changes.
 * I3 a request names an adapter only where there is a table of them.
 */

import { randomBytes } from 'node:crypto'
import type { Clock } from '../base/clock.ts'
import { invariant } from '../base/errors.ts'
import type { SequenceId } from '../base/ids.ts'
import type { ChatTemplate } from '../text/chat-template.ts'
import type { Tokenizer } from '../text/tokenizer.ts'
import { adapterCard } from './adapters/adapter-card.ts'
import type { AdapterTable } from './adapters/adapter-table.ts'
import { Admission } from './admission.ts'
import type { ModelCard, ReplicaHealth } from './deployments.ts'
import { deploymentError } from './errors.ts'
import type { GenerationEvent, GenerationRequest } from './generation.ts'
import { GenerationRun, type RunTools } from './generation-run.ts'
import type { ReplicaGroup } from './replica.ts'
import { systemFingerprint } from './serving-config-digest.ts'

export interface ModelDeploymentOptions {
  readonly card: ModelCard
  /** Ingot's own version, part of the fingerprint. */
  readonly version: string
  readonly tokenizer: Tokenizer
  readonly template: Pick<ChatTemplate, 'render'>
  readonly replicas: ReplicaGroup
  /** That its replicas hold; absent = none ever. */
  readonly adapters?: AdapterTable
  /** Of one replica. */
  readonly maxNumSeqs: number
  readonly maxQueuedSequences: number
  readonly clock: Clock
  /** Unique over all deployments of the process. */
  nextSequenceId(): SequenceId
  /** Seconds said with 503 while no replica is ready; default 5. */
  retryAfterSeconds?(): number
  /** The last open request has ended. */
  onIdle?(): void
  /** A request was answered whole. @param numTokens - of each choice @param decodeMs - from the first token to the last */
  onAnswered?(numTokens: number, decodeMs: number): void
}

/** Said with 503 while an engine starts: about what loading a small model takes. */
const STARTING_RETRY_SECONDS = 5

export class ModelDeployment {
  readonly card: ModelCard
  readonly #options: ModelDeploymentOptions
  readonly #tools: RunTools
  readonly #admission: Admission
  readonly #open = new Set<GenerationRun>()
  #isDraining = false
  #onIdle: (() => void) | null = null

  constructor(options: ModelDeploymentOptions) {
    const { card, replicas, maxQueuedSequences, clock } = options
    const maxNumSeqs = (): number => options.maxNumSeqs * Math.max(1, replicas.numReady)
    this.card = card
    this.#options = options
    const admissionMs = (): number | null => replicas.admissionMs
    this.#admission = new Admission({
      ...{ modelId: card.id, maxNumSeqs, maxQueuedSequences, admissionMs, clock },
    })
    const fingerprint = systemFingerprint(options.version, card.servingConfigDigest)
    this.#tools = {
      modelId: card.id,
      tokenizer: options.tokenizer,
      template: options.template,
      vocabSize: card.vocabSize,
      maxContextTokens: card.maxContextTokens,
      admission: this.#admission,
      replicas,
      clock,
      nextSequenceId: options.nextSequenceId,
      drawSeed,
      assertReady: () => {
        this.#assertReady()
        return { systemFingerprint: fingerprint, adapter: null }
      },
      onStarted: (run) => this.#open.add(run),
      onEnded: (run) => this.#ended(run),
      onAnswered: (numTokens, decodeMs) => options.onAnswered?.(numTokens, decodeMs),
    }
  }

  /** Requests that have begun and whose sequences the engine has not let go of. */
  get numOpen(): number {
    return this.#open.size
  }

  generate(request: GenerationRequest, signal: AbortSignal): AsyncIterable<GenerationEvent> {
    const tools = request.adapter === undefined ? this.#tools : this.#withAdapter(request.adapter)
    return new GenerationRun(tools, request, signal).events
  }

  tokenText(tokenId: number): string {
    return this.#options.tokenizer.tokenText(tokenId)
  }

  decode(tokenIds: readonly number[]): string {
    return this.#options.tokenizer.decode(Int32Array.from(tokenIds), { skipSpecialTokens: true })
  }

  health(): readonly ReplicaHealth[] {
    const { id: modelId } = this.card
    return this.#options.replicas.health().map((replica) => ({ ...replica, modelId }))
  }

  /**
   * Admit nothing more and wait until everything open has ended; after `graceMs` what still runs is cancelled.
   *
   * @returns how many requests were cancelled
   */
  async drain(graceMs: number): Promise<number> {
    this.#isDraining = true
    if (this.#open.size === 0) return 0
    const idle = new Promise<void>((resolve) => {
      this.#onIdle = resolve
    })
    let numCancelled = 0
    const timer = setTimeout(() => {
      numCancelled = this.#open.size
      for (const run of this.#open) run.cancel()
    }, graceMs)
    await idle
    clearTimeout(timer)
    return numCancelled
  }

  #assertReady(): void {
    const { id: model } = this.card
    if (this.#isDraining) {
      const details = { model, reason: 'the server is shutting down' }
      throw deploymentError('DEPLOYMENT_DRAINING', { details })
    }
    const { numReady, reason } = this.#options.replicas
    if (numReady > 0) return
    const retryAfterSeconds = this.#options.retryAfterSeconds?.() ?? STARTING_RETRY_SECONDS
    throw deploymentError('DEPLOYMENT_NOT_READY', {
      retryAfterSeconds,
      details: { model, reason: reason ?? 'no engine runs', retryAfterSeconds },
    })
  }

  /** For one run: the adapter counts as used from its first look until its end. */
  #withAdapter(name: string): RunTools {
    const { adapters, version } = this.#options
    invariant(adapters !== undefined, 'I3', 'adapters are named of models that have some only')
    const tools: RunTools = {
      ...this.#tools,
      modelId: `${this.card.id}:${name}`,
      assertReady: () => {
        this.#assertReady()
        const { slot, digest, ...facts } = adapters.use(name, tools)
        const card = adapterCard(this.card, { slot, digest, ...facts })
        const { servingConfigDigest } = card
        const adapter = { name, slot, digest, servingConfigDigest }
        return { systemFingerprint: systemFingerprint(version, servingConfigDigest), adapter }
      },
      onEnded: (run) => {
        adapters.ended(name, tools)
        this.#ended(run)
      },
    }
    return tools
  }

  #ended(run: GenerationRun): void {
    // It may be said more than once.
    if (!this.#open.delete(run)) return
    if (this.#open.size > 0) return
    this.#onIdle?.()
    this.#options.onIdle?.()
  }
}

/** 53 bits, so that a client that reads numbers as doubles can send the reported seed again. */
function drawSeed(): bigint {
  return randomBytes(8).readBigUInt64LE() >> 11n
}
