/**
 * One served model: its text tools, its admission and its replica. Owns the open requests. Does not know how it is
 * named by requests, HTTP, or how a replica lives. JavaScript thread only.
 *
 * I1 once `drain` was called nothing is admitted; when it resolves nothing is open.
 * I2 the card never changes.
 */

import { randomBytes } from 'node:crypto'
import type { Clock } from '../base/clock.ts'
import type { SequenceId } from '../base/ids.ts'
import type { ChatTemplate } from '../text/chat-template.ts'
import type { Tokenizer } from '../text/tokenizer.ts'
import type { EngineDescription } from '../worker/messages.ts'
import { Admission } from './admission.ts'
import type { ModelCard, ReplicaHealth } from './deployments.ts'
import { deploymentError } from './errors.ts'
import type { GenerationEvent, GenerationRequest } from './generation.ts'
import { GenerationRun, type RunTools } from './generation-run.ts'
import type { Replica } from './replica.ts'
import { systemFingerprint } from './serving-config-digest.ts'

export interface ModelDeploymentOptions {
  readonly card: ModelCard
  /** Ingot's own version, part of the fingerprint. */
  readonly version: string
  readonly tokenizer: Tokenizer
  readonly template: Pick<ChatTemplate, 'render'>
  readonly replica: Replica
  /** The replica's first description; every later engine of it is planned the same. */
  readonly ready: Promise<EngineDescription>
  readonly maxNumSeqs: number
  readonly maxQueuedSequences: number
  readonly clock: Clock
  /** Unique over all deployments of the process. */
  nextSequenceId(): SequenceId
}

/** Said with 503 while an engine starts: about what loading a small model takes. */
const STARTING_RETRY_SECONDS = 5

export class ModelDeployment {
  readonly card: ModelCard
  readonly #options: ModelDeploymentOptions
  readonly #tools: RunTools
  readonly #admission: Admission
  readonly #open = new Set<GenerationRun>()
  /** Of the whole pool; 0 until the first engine was ready. */
  #numBlocks = 0
  #isDraining = false
  #onIdle: (() => void) | null = null

  constructor(options: ModelDeploymentOptions) {
    const { card, maxNumSeqs, maxQueuedSequences, clock } = options
    this.card = card
    this.#options = options
    this.#admission = new Admission({ modelId: card.id, maxNumSeqs, maxQueuedSequences, clock })
    const fingerprint = systemFingerprint(options.version, card.servingConfigDigest)
    this.#tools = {
      modelId: card.id,
      tokenizer: options.tokenizer,
      template: options.template,
      vocabSize: card.vocabSize,
      maxContextTokens: card.maxContextTokens,
      admission: this.#admission,
      replica: options.replica,
      clock,
      nextSequenceId: options.nextSequenceId,
      drawSeed,
      assertReady: () => {
        this.#assertReady()
        return { systemFingerprint: fingerprint }
      },
      onStarted: (run) => this.#open.add(run),
      onEnded: (run) => this.#ended(run),
    }
    const keep = ({ numBlocks }: EngineDescription): void => {
      this.#numBlocks = numBlocks
    }
    // Whoever opened the deployment hears of a failure; here it only means that there are no blocks.
    options.ready.then(keep, () => {})
  }

  generate(request: GenerationRequest, signal: AbortSignal): AsyncIterable<GenerationEvent> {
    return new GenerationRun(this.#tools, request, signal).events
  }

  tokenText(tokenId: number): string {
    return this.#options.tokenizer.tokenText(tokenId)
  }

  decode(tokenIds: readonly number[]): string {
    return this.#options.tokenizer.decode(Int32Array.from(tokenIds), { skipSpecialTokens: true })
  }

  health(): ReplicaHealth {
    const { stats, ...status } = this.#options.replica.status()
    // An engine that has not stepped yet has said nothing, and has all its blocks free.
    const numBlocks = status.state === 'ready' ? this.#numBlocks : 0
    return {
      ...status,
      modelId: this.card.id,
      replica: 0,
      numRunning: stats?.numRunning ?? 0,
      numWaiting: stats?.numWaiting ?? 0,
      numFreeBlocks: stats?.numFreeBlocks ?? numBlocks,
      numBlocks: stats?.numBlocks ?? numBlocks,
    }
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

  /** End the replica. Call `drain` first to lose nothing. */
  async close(): Promise<void> {
    this.#isDraining = true
    await this.#options.replica.stop()
  }

  #assertReady(): void {
    const { id: model } = this.card
    if (this.#isDraining) throw deploymentError('DEPLOYMENT_DRAINING', { details: { model } })
    const { state, reason } = this.#options.replica.status()
    if (state === 'ready') return
    const retryAfterSeconds = STARTING_RETRY_SECONDS
    throw deploymentError('DEPLOYMENT_NOT_READY', {
      retryAfterSeconds,
      details: { model, reason: reason ?? `the engine is ${state}`, retryAfterSeconds },
    })
  }

  #ended(run: GenerationRun): void {
    this.#open.delete(run)
    if (this.#open.size === 0) this.#onIdle?.()
  }
}

/** 53 bits, so that a client that reads numbers as doubles can send the reported seed again. */
function drawSeed(): bigint {
  return randomBytes(8).readBigUInt64LE() >> 11n
}
