/**
 * The streamed side of one answer: headers that leave when the first frame does, or earlier when a wait is announced;
 * frames; and the error that may still come after them.
 *
 * Owns the response from `open` on. Does not know what the frames mean.
 *
 * I1 before `open` nothing was sent, so an error can still be a status; after it, it can only be an event.
 */

import type { FastifyReply } from 'fastify'
import type { Clock } from '../base/clock.ts'
import { SseStream } from './sse.ts'
import type { Timers } from './timers.ts'

export interface AnswerStreamOptions {
  readonly reply: FastifyReply
  readonly keepAliveMs: number
  readonly clock: Clock
  readonly timers: Timers
  /** Milliseconds since the request came. */
  elapsedMs(): number
}

export class AnswerStream {
  readonly #options: AnswerStreamOptions
  readonly #sse: SseStream
  #isOpen = false

  constructor(options: AnswerStreamOptions) {
    const { reply, keepAliveMs, clock, timers } = options
    this.#options = options
    this.#sse = new SseStream(reply.raw, { keepAliveMs, clock, timers })
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  /** Send the headers, unless they have been sent. */
  open(): void {
    if (this.#isOpen) return
    this.#isOpen = true
    const { reply, elapsedMs } = this.#options
    reply.hijack()
    this.#sse.open({ ...reply.getHeaders(), 'openai-processing-ms': Math.round(elapsedMs()) })
  }

  send(frames: readonly object[]): void {
    for (const frame of frames) this.#sse.send(JSON.stringify(frame))
  }

  /** The client reads more slowly than we write; then wait for `drained` before the next event is taken. */
  get isFull(): boolean {
    return this.#sse.isFull
  }

  drained(signal: AbortSignal): Promise<void> {
    return this.#sse.drained(signal)
  }

  /** The mark that OpenAI's clients take for the end of a complete answer. */
  done(): void {
    this.#sse.send('[DONE]')
  }

  end(): void {
    if (this.#isOpen) this.#sse.end()
  }
}
