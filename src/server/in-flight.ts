/**
 * The generation requests being answered, and the gate before them that closes when the server drains.
 *
 * Owns one `AbortController` a request. Does not know what a request asks for.
 *
 * I1 once draining, nothing enters.
 * I2 `drain` resolves only when nothing is open; what the grace period did not suffice for was aborted.
 */

import { setMaxListeners } from 'node:events'
import type { Gauge } from 'prom-client'
import { serverError } from './errors.ts'
import type { Timers } from './timers.ts'

export class InFlight {
  readonly #open = new Set<AbortController>()
  readonly #gauge: Gauge
  #isDraining = false
  #onEmpty: (() => void) | null = null

  constructor(gauge: Gauge) {
    this.#gauge = gauge
  }

  get isDraining(): boolean {
    return this.#isDraining
  }

  get numOpen(): number {
    return this.#open.size
  }

  /** Let a request in; the returned controller ends it early. @throws ServingError SERVER_DRAINING */
  enter(): AbortController {
    if (this.#isDraining) throw serverError('SERVER_DRAINING')
    const controller = new AbortController()
    // Each prompt of a request listens; more than ten are no leak that Node should warn of.
    setMaxListeners(0, controller.signal)
    this.#open.add(controller)
    this.#gauge.set(this.#open.size)
    return controller
  }

  /** The request is answered, or given up. Twice is once. */
  leave(controller: AbortController): void {
    this.#open.delete(controller)
    this.#gauge.set(this.#open.size)
    if (this.#open.size === 0) this.#onEmpty?.()
  }

  /** Close the gate, wait for what is open, abort what is left after `graceMs` with SERVER_SHUT_DOWN. */
  async drain(graceMs: number, timers: Timers): Promise<void> {
    this.#isDraining = true
    if (this.#open.size === 0) return
    const empty = new Promise<void>((resolve) => {
      this.#onEmpty = resolve
    })
    const cancel = timers.schedule(graceMs, () => {
      for (const controller of this.#open) controller.abort(serverError('SERVER_SHUT_DOWN'))
    })
    await empty
    cancel()
  }
}
