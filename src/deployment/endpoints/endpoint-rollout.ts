/**
 * A new revision of an endpoint beside the one that serves: loads it, gives it a share of the requests, and then lets it
 * take over or takes it back. Owns the candidate and one timer while it runs. JavaScript thread only.
 *
 *   loading ── its first token ──▶ canary ── observed for long enough, few errors ──▶ promoted
 *      └── will not load ───────────┴──── too many errors, an engine that ended ────▶ rolled back
 *
 * O1 a request goes to one of the two and stays there; which one depends on its key alone while the share stays.
 * O2 neither is ended under a request: whoever loses takes nothing new and ends with its open requests.
 * O3 it ends once, promoted or rolled back.
 */

import { createHash } from 'node:crypto'
import type { Clock } from '../../base/clock.ts'
import { ServingError } from '../../base/errors.ts'
import type { Timer } from '../../worker/timer.ts'
import type { GenerationRequest } from '../generation.ts'
import type { Endpoint } from './endpoint.ts'
import type { RolloutSpec } from './endpoint-spec.ts'

export interface EndpointRolloutOptions {
  readonly stable: Endpoint
  readonly candidate: Endpoint
  readonly spec: RolloutSpec
  readonly clock: Clock
  readonly timer: Timer
  /** @param reason - why it was taken back; `null` = it takes over */
  onEnd(reason: string | null): void
}

const LOOK_EVERY_MS = 250

export class EndpointRollout {
  readonly stable: Endpoint
  readonly candidate: Endpoint
  readonly #options: EndpointRolloutOptions
  #cancel: () => void = () => {}
  /** When its share of requests began; `null` while it loads. */
  #canarySinceMs: number | null = null
  #numEnded = 0
  #numErrors = 0
  #isOver = false

  constructor(options: EndpointRolloutOptions) {
    this.stable = options.stable
    this.candidate = options.candidate
    this.#options = options
    options.candidate.start()
    const [first] = options.candidate.variants.values()
    // Also one that comes with use elsewhere must prove itself first.
    first?.setTarget(Math.max(1, first.target))
    this.#wait()
  }

  /** Told while both are there. */
  get words(): string {
    const { percent } = this.#options.spec
    if (this.#canarySinceMs === null) return 'a new revision is being loaded'
    return `a new revision serves ${percent} % of the requests; ${this.#numErrors} of ${this.#numEnded} failed there`
  }

  /** Which of the two a request belongs to (O1). */
  choose({ id, principal, cacheKey }: GenerationRequest): Endpoint {
    if (this.#canarySinceMs === null) return this.stable
    const key = cacheKey === null ? `id ${id}` : `key ${principal} ${cacheKey}`
    const share = createHash('sha256').update(key).digest().readUInt32BE(0) / 2 ** 32
    return share * 100 < this.#options.spec.percent ? this.candidate : this.stable
  }

  /** What became of a request that the candidate had. @param error - `null` = it was answered */
  observe(error: unknown): void {
    if (this.#isOver) return
    this.#numEnded += 1
    if (isFault(error)) this.#numErrors += 1
    const { maxErrorRate, minRequests } = this.#options.spec
    const isJudged = this.#numEnded >= minRequests
    if (isJudged && this.#numErrors > maxErrorRate * this.#numEnded) {
      this.#end(`${this.#numErrors} of ${this.#numEnded} requests failed`)
    }
  }

  /** Another declaration, or the end of the server, has made it pointless. */
  stop(): void {
    this.#isOver = true
    this.#cancel()
  }

  #wait(): void {
    this.#cancel = this.#options.timer.after(LOOK_EVERY_MS, () => {
      this.#look()
      if (!this.#isOver) this.#wait()
    })
  }

  #look(): void {
    const nowMs = this.#options.clock.nowMs()
    const [variant] = this.candidate.variants.values()
    if (variant === undefined) return
    if (variant.phase === 'failed') {
      this.#end(variant.reason ?? 'it could not be loaded')
    } else if (this.#canarySinceMs === null) {
      if (variant.phase === 'ready') this.#canarySinceMs = nowMs
    } else if (variant.replicas.health().some(({ numRestarts }) => numRestarts > 0)) {
      this.#end('its engine ended')
    } else if (nowMs - this.#canarySinceMs >= this.#options.spec.observeMs) {
      this.#end(null)
    }
  }

  #end(reason: string | null): void {
    if (this.#isOver) return
    this.stop()
    this.#options.onEnd(reason)
  }
}

/** A caller's mistake, a full queue or a client that has gone says nothing about a revision. */
function isFault(error: unknown): boolean {
  if (error === null) return false
  return error instanceof ServingError
    ? error.status >= 500 && error.code !== 'SERVER_CLIENT_GONE'
    : false
}
