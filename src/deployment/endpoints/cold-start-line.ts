/**
 * The requests that wait for one model to be ready. Owns their timers and abort listeners. Does not know models.
 *
 * P3 each ends once: called, refused, timed out or aborted, and its timer and listener go with it.
 */

import type { Timer } from '../../worker/timer.ts'

interface Waiter<T> {
  readonly resolve: (value: T) => void
  readonly reject: (reason: unknown) => void
}

export class ColdStartLine<T> {
  readonly #timer: Timer
  readonly #onLeft: () => void
  readonly #waiters = new Set<Waiter<T>>()

  /** @param onLeft - somebody timed out or went away */
  constructor(timer: Timer, onLeft: () => void) {
    this.#timer = timer
    this.#onLeft = onLeft
  }

  get size(): number {
    return this.#waiters.size
  }

  /**
   * @param waitMs - how long at most
   * @param timeout - what it is refused with then
   */
  wait(waitMs: number, signal: AbortSignal, timeout: () => Error): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason)
        return
      }
      const forget = (): void => {
        this.#waiters.delete(waiter)
        cancelTimer()
        signal.removeEventListener('abort', onAbort)
      }
      const waiter: Waiter<T> = {
        resolve: (value) => {
          forget()
          resolve(value)
        },
        reject: (reason) => {
          forget()
          reject(reason)
        },
      }
      const leave = (reason: unknown): void => {
        waiter.reject(reason)
        this.#onLeft()
      }
      const onAbort = (): void => leave(signal.reason)
      const cancelTimer = this.#timer.after(waitMs, () => leave(timeout()))
      signal.addEventListener('abort', onAbort, { once: true })
      this.#waiters.add(waiter)
    })
  }

  /** Everybody who waits gets a value of their own. */
  callAll(make: () => T): void {
    for (const waiter of [...this.#waiters]) waiter.resolve(make())
  }

  refuseAll(make: () => unknown): void {
    for (const waiter of [...this.#waiters]) waiter.reject(make())
  }
}
