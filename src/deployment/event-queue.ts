/**
 * One request's events between the engine's messages and a reader that may be slow. Single reader, single writer, one
 * thread.
 *
 * Owns the events that were not read yet. A step's events are all there before the reader runs, so a reader that loops
 * gets them in one go. Beyond `MAX_EVENTS` unread ones, deltas of a choice are joined: a slow reader gets fewer, larger
 * pieces, and the number of events stays bounded.
 *
 * I1 joined pieces hold the same text, ids and logprobs in the same order.
 * I2 after `end`, `fail` or the reader's `return` nothing is added; what was added before `end` is still read, what was
 *    before `fail` too.
 */

import type { GenerationEvent } from './generation.ts'

type DeltaEvent = Extract<GenerationEvent, { type: 'delta' }>
type Waiting = {
  readonly resolve: (result: IteratorResult<GenerationEvent>) => void
  readonly reject: (reason: unknown) => void
}

const MAX_EVENTS = 256

export interface ReaderEvents {
  /** The reader asked for its first event. */
  onStart(): void
  /** The reader left before the end. */
  onReturn(): void
}

export class EventQueue implements AsyncIterableIterator<GenerationEvent> {
  readonly #reader: ReaderEvents
  #events: GenerationEvent[] = []
  #waiting: Waiting | null = null
  #hasStarted = false
  #isClosed = false
  #failure: { readonly reason: unknown } | null = null

  constructor(reader: ReaderEvents) {
    this.#reader = reader
  }

  /** Nothing will be added any more. */
  get isClosed(): boolean {
    return this.#isClosed
  }

  push(event: GenerationEvent): void {
    if (this.#isClosed) return
    if (this.#waiting !== null) {
      this.#answer((waiting) => waiting.resolve({ done: false, value: event }))
    } else if (!this.#join(event)) {
      this.#events.push(event)
    }
  }

  end(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#answer((waiting) => waiting.resolve({ done: true, value: undefined }))
  }

  /** The reader's `next` throws `reason` once it has read what came before. */
  fail(reason: unknown): void {
    if (this.#isClosed) return
    this.#isClosed = true
    if (this.#waiting === null) this.#failure = { reason }
    else this.#answer((waiting) => waiting.reject(reason))
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<IteratorResult<GenerationEvent>> {
    if (!this.#hasStarted) {
      this.#hasStarted = true
      this.#reader.onStart()
    }
    const event = this.#events.shift()
    if (event !== undefined) return Promise.resolve({ done: false, value: event })
    if (this.#failure !== null) {
      const { reason } = this.#failure
      this.#failure = null
      return Promise.reject(reason)
    }
    if (this.#isClosed) return Promise.resolve({ done: true, value: undefined })
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject }
    })
  }

  return(): Promise<IteratorResult<GenerationEvent>> {
    const wasOpen = !this.#isClosed
    this.#hasStarted = true
    this.#events = []
    this.#failure = null
    this.end()
    if (wasOpen) this.#reader.onReturn()
    return Promise.resolve({ done: true, value: undefined })
  }

  #answer(act: (waiting: Waiting) => void): void {
    const waiting = this.#waiting
    this.#waiting = null
    if (waiting !== null) act(waiting)
  }

  /** Join a delta onto the unread one of the same choice; only ever past a delta of another choice (I1). */
  #join(event: GenerationEvent): boolean {
    if (event.type !== 'delta' || this.#events.length < MAX_EVENTS) return false
    for (let at = this.#events.length - 1; at >= 0; at -= 1) {
      const unread = this.#events[at]
      if (unread?.type !== 'delta') return false
      if (unread.choice !== event.choice) continue
      this.#events[at] = joined(unread, event)
      return true
    }
    return false
  }
}

function joined(first: DeltaEvent, second: DeltaEvent): DeltaEvent {
  const { logprobs } = first
  return {
    ...first,
    text: first.text + second.text,
    tokenIds: [...first.tokenIds, ...second.tokenIds],
    logprobs: logprobs === null ? null : [...logprobs, ...(second.logprobs ?? [])],
  }
}
