/**
 * One request from the name it asked for to its last event: tries its candidates in order, waits for a cold one, then
 * hands the reader the run's own events without a step in between. Owns the wait. Does not know how candidates are found.
 *
 *   first next() ─▶ candidate: lease at once, or wait ─▶ its run's `started` ─▶ the run's events
 *                     │ refused for now, and there is another      │ longer than a moment: `waiting` first
 *                     └──────▶ next candidate
 *   replaced while it waited ─▶ the candidates anew
 *
 * P3 the reader gets the run's events and its end, or one error; an abort or `return` ends the wait at once.
 */

import { ServingError } from '../../base/errors.ts'
import type { Timer } from '../../worker/timer.ts'
import type { GenerationEvent, GenerationRequest } from '../generation.ts'
import type { ServedBy } from './routing.ts'
import type { Lease } from './variant-options.ts'

/** One way to serve the request. */
export interface RunCandidate {
  /** @throws ServingError when it takes no request now; the signal's reason */
  acquire(signal: AbortSignal): Acquired | Promise<Acquired>
  /** Hears how the request ended, once; absent where nobody asks. @param error - `null` = it was answered */
  readonly observe?: ((error: unknown) => void) | undefined
}

export interface Acquired {
  readonly lease: Lease
  /** `null` = not told. */
  readonly served: ServedBy | null
}

export interface EndpointRunOptions {
  readonly request: GenerationRequest
  readonly signal: AbortSignal
  readonly timer: Timer
  /** In order, at least one. @param passedOver - why those before refused */
  candidates(): readonly ((passedOver: readonly string[]) => RunCandidate)[]
}

type Result = IteratorResult<GenerationEvent>

/** A wait that is shorter is not announced, so that a refusal keeps its status. */
const NOTICE_MS = 300
/** How often an endpoint may be replaced under a request before it is told. */
const MAX_ROUNDS = 10
const DONE: Result = { done: true, value: undefined }

export class EndpointRun implements AsyncIterableIterator<GenerationEvent> {
  readonly #options: EndpointRunOptions
  readonly #left = new AbortController()
  #run: AsyncIterator<GenerationEvent> | null = null
  #beginning: Promise<Result> | null = null
  #hasBegun = false
  #isOver = false
  #observe: ((error: unknown) => void) | undefined

  constructor(options: EndpointRunOptions) {
    this.#options = options
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<Result> {
    if (this.#hasBegun && this.#run !== null) {
      return this.#observe === undefined ? this.#run.next() : this.#observed(this.#run.next())
    }
    if (this.#isOver) return Promise.resolve(DONE)
    if (this.#beginning !== null) return this.#beginning
    this.#beginning = this.#begin()
    return this.#beginningOrNotice(this.#beginning)
  }

  async return(): Promise<Result> {
    this.#isOver = true
    this.#left.abort(new Error('its reader left'))
    await this.#run?.return?.()
    return DONE
  }

  /** Whichever comes first; after the notice the reader asks again. */
  #beginningOrNotice(beginning: Promise<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      const cancel = this.#options.timer.after(NOTICE_MS, () => {
        // Nobody may be there yet to hear that it failed.
        beginning.catch(() => {})
        resolve({ done: false, value: { type: 'waiting', reason: 'its model is being loaded' } })
      })
      beginning.then(resolve, reject).finally(cancel)
    })
  }

  #observed(next: Promise<Result>): Promise<Result> {
    const end = (error: unknown): void => {
      this.#observe?.(error)
      this.#observe = undefined
    }
    next.then(({ done }) => {
      if (done === true) end(null)
    }, end)
    return next
  }

  async #begin(): Promise<Result> {
    const signal = AbortSignal.any([this.#options.signal, this.#left.signal])
    try {
      for (let round = 1; ; round += 1) {
        const candidates = this.#options.candidates()
        try {
          return await this.#beginWithAny(candidates, signal)
        } catch (error) {
          if (round === MAX_ROUNDS || !isReplaced(error)) throw error
        }
      }
    } catch (error) {
      this.#isOver = true
      if (this.#left.signal.aborted) return DONE
      throw error
    }
  }

  async #beginWithAny(
    candidates: ReturnType<EndpointRunOptions['candidates']>,
    signal: AbortSignal,
  ): Promise<Result> {
    const passedOver: string[] = []
    for (const [at, make] of candidates.entries()) {
      try {
        return await this.#beginWith(make(passedOver), signal)
      } catch (error) {
        this.#observe?.(error)
        if (at === candidates.length - 1 || !isRefusal(error)) throw error
        passedOver.push(error.message)
      }
    }
    return DONE
  }

  async #beginWith(candidate: RunCandidate, signal: AbortSignal): Promise<Result> {
    signal.throwIfAborted()
    this.#observe = candidate.observe
    const acquired = candidate.acquire(signal)
    // At once where it is ready: no turn of the loop between the lease and the run.
    const { lease, served } = acquired instanceof Promise ? await acquired : acquired
    const { request } = this.#options
    let first: Promise<Result>
    try {
      signal.throwIfAborted()
      const run = lease.deployment.generate(request, this.#options.signal)[Symbol.asyncIterator]()
      this.#run = run
      first = run.next()
    } finally {
      lease.release()
    }
    const result = await first
    this.#hasBegun = true
    if (result.done === true || result.value.type !== 'started' || served === null) return result
    const { servingConfigDigest } = result.value.adapter ?? served
    return { done: false, value: { ...result.value, served: { ...served, servingConfigDigest } } }
  }
}

/** Not now and not here, but perhaps elsewhere: the request itself is sound. */
function isRefusal(error: unknown): error is ServingError {
  return error instanceof ServingError && (error.status === 503 || error.status === 429)
}

/** What it waited for was taken down; there may be a successor. */
function isReplaced(error: unknown): boolean {
  return error instanceof ServingError && error.code === 'DEPLOYMENT_DRAINING'
}
