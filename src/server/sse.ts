/**
 * One answer as server-sent events on one socket: frames, keep-alive comments, back-pressure.
 *
 * Owns the response from `open` to `end`. Does not know what the frames mean. One thread.
 *
 * I1 the headers leave at once, before any frame exists.
 * I2 frames that were sent in one turn of the event loop leave as one write: the deltas of one engine step. What has
 *    piled up to `FLUSH_AT_LENGTH` leaves earlier, so that back-pressure is felt.
 * I3 after the client is gone every call is a silent no-op; the caller learns of it through its abort signal.
 * Source: WHATWG HTML, "Server-sent events"; frames hold one line of JSON, so no data line needs splitting.
 */

import type { ServerResponse } from 'node:http'
import type { Clock } from '../base/clock.ts'
import type { Timers } from './timers.ts'

export interface SseOptions {
  /** Silence after which a comment is sent; 0 = never. */
  readonly keepAliveMs: number
  readonly clock: Clock
  readonly timers: Timers
}

const SSE_HEADERS: Readonly<Record<string, string>> = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform',
  // nginx would otherwise collect the stream until its buffer is full.
  'x-accel-buffering': 'no',
}

/** UTF-16 units that are written at once, without waiting for the end of the turn; a step's frames are far below. */
const FLUSH_AT_LENGTH = 64 * 1024

export class SseStream {
  readonly #response: ServerResponse
  readonly #options: SseOptions
  #pending = ''
  #isFlushing = false
  #lastWriteMs = 0
  #cancelKeepAlive: (() => void) | null = null

  constructor(response: ServerResponse, options: SseOptions) {
    this.#response = response
    this.#options = options
  }

  open(headers: Readonly<Record<string, string | number | string[] | undefined>>): void {
    const present = Object.entries(headers).filter(([, value]) => value !== undefined)
    const all = { ...Object.fromEntries(present), ...SSE_HEADERS }
    this.#response.writeHead(200, all as Record<string, string>)
    this.#response.flushHeaders()
    this.#lastWriteMs = this.#options.clock.nowMs()
    if (this.#options.keepAliveMs > 0) this.#watchSilence(this.#options.keepAliveMs)
  }

  /** @param json - one line of JSON, or `[DONE]` */
  send(json: string): void {
    this.#pending += `data: ${json}\n\n`
    // A source that is always ready would never let the timer below run, and all of it would pile up here.
    if (this.#pending.length >= FLUSH_AT_LENGTH) this.#flush()
    if (this.#isFlushing) return
    this.#isFlushing = true
    // After all promise callbacks of this turn, which is when a step's other events have been sent.
    setImmediate(() => {
      this.#isFlushing = false
      this.#flush()
    })
  }

  /** Whether the client reads more slowly than we write; then wait for `drained` before the next event is taken. */
  get isFull(): boolean {
    return this.#response.writableNeedDrain && !this.#isGone
  }

  /** Resolves when the socket takes more, when it is closed, or when `signal` is aborted. */
  drained(signal: AbortSignal): Promise<void> {
    const response = this.#response
    if (!this.isFull || signal.aborted) return Promise.resolve()
    return new Promise((resolve) => {
      const done = (): void => {
        response.off('drain', done)
        response.off('close', done)
        signal.removeEventListener('abort', done)
        resolve()
      }
      response.on('drain', done)
      response.on('close', done)
      signal.addEventListener('abort', done)
    })
  }

  /** Write what is pending and end the response. */
  end(): void {
    this.#cancelKeepAlive?.()
    this.#cancelKeepAlive = null
    this.#flush()
    if (!this.#isGone) this.#response.end()
  }

  get #isGone(): boolean {
    return this.#response.destroyed || this.#response.writableEnded
  }

  #flush(): void {
    const text = this.#pending
    this.#pending = ''
    if (text === '' || this.#isGone) return
    this.#lastWriteMs = this.#options.clock.nowMs()
    this.#response.write(text)
  }

  /** One timer a stream that looks when the last write was, instead of one restarted with each token. */
  #watchSilence(delayMs: number): void {
    this.#cancelKeepAlive = this.#options.timers.schedule(delayMs, () => {
      if (this.#isGone) return
      const { keepAliveMs, clock } = this.#options
      const silentMs = clock.nowMs() - this.#lastWriteMs
      const isDue = silentMs >= keepAliveMs
      // A client that does not read needs no sign of life, and would only fill our buffer.
      if (isDue && !this.#response.writableNeedDrain) {
        this.#lastWriteMs = clock.nowMs()
        this.#response.write(': keep-alive\n\n')
      }
      this.#watchSilence(isDue ? keepAliveMs : keepAliveMs - silentMs)
    })
  }
}
