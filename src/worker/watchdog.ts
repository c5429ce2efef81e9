/**
 * Notices an engine that lives but does nothing. Owns one timer while it watches.
 *
 *   no answer to a ping for `silenceMs`                 the process's event loop is stuck
 *   sequences inside, no step ended for `stepMs`        a kernel is stuck: pings are answered, steps are not
 *
 * A step computes off the event loop, so a long step alone never silences the pings. Does not kill; it tells once.
 */

import type { Clock } from '../base/clock.ts'
import type { Timer } from './timer.ts'

export interface WatchdogSettings {
  readonly pingEveryMs: number
  readonly silenceMs: number
  /** Far above the longest step: a whole batch of prompt on the slowest machine. */
  readonly stepMs: number
}

export const DEFAULT_WATCHDOG_SETTINGS: WatchdogSettings = {
  pingEveryMs: 2_000,
  silenceMs: 20_000,
  stepMs: 300_000,
}

/** What is watched. */
export interface Watched {
  /** Sequences that wait for something. */
  readonly numSequences: number
  ping(nonce: number): void
}

export class Watchdog {
  readonly #watched: Watched
  readonly #settings: WatchdogSettings
  readonly #clock: Clock
  readonly #timer: Timer
  readonly #onStuck: (reason: string) => void
  #cancelTimer: () => void = () => {}
  #numPings = 0
  #lastPongNonce = 0
  /** When the oldest ping without an answer was sent. */
  #waitingSinceMs: number | null = null
  #lastStepMs: number

  constructor(
    watched: Watched,
    settings: WatchdogSettings,
    time: { readonly clock: Clock; readonly timer: Timer },
    onStuck: (reason: string) => void,
  ) {
    this.#watched = watched
    this.#settings = settings
    this.#clock = time.clock
    this.#timer = time.timer
    this.#onStuck = onStuck
    this.#lastStepMs = this.#clock.nowMs()
    this.#schedule()
  }

  onPong(nonce: number): void {
    this.#lastPongNonce = Math.max(this.#lastPongNonce, nonce)
    if (this.#lastPongNonce === this.#numPings) this.#waitingSinceMs = null
  }

  onStep(): void {
    this.#lastStepMs = this.#clock.nowMs()
  }

  stop(): void {
    this.#cancelTimer()
  }

  #schedule(): void {
    this.#cancelTimer = this.#timer.after(this.#settings.pingEveryMs, () => this.#check())
  }

  #check(): void {
    const { silenceMs, stepMs } = this.#settings
    const nowMs = this.#clock.nowMs()
    // A wait for work is no wait for a step.
    if (this.#watched.numSequences === 0) this.#lastStepMs = nowMs
    const silentMs = this.#waitingSinceMs === null ? 0 : nowMs - this.#waitingSinceMs
    if (silentMs >= silenceMs) {
      this.#onStuck(`it has not answered for ${Math.round(silentMs / 1000)} s`)
      return
    }
    if (nowMs - this.#lastStepMs >= stepMs) {
      const seconds = Math.round((nowMs - this.#lastStepMs) / 1000)
      this.#onStuck(`it has sequences but has ended no step for ${seconds} s`)
      return
    }
    this.#numPings += 1
    this.#waitingSinceMs ??= nowMs
    this.#watched.ping(this.#numPings)
    this.#schedule()
  }
}
