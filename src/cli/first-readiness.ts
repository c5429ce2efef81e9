/**
 * What becomes of the one model of `ingot serve MODEL`: ready for the first time, or never; given up later. Owns two
 * promises.
 */

import type { EngineDescription } from '../worker/messages.ts'

export class FirstReadiness {
  /** Settles when the engine is ready for the first time, or never will be. */
  readonly ready: Promise<EngineDescription>
  /** Rejects when the engine will not be started again; pending until then. */
  readonly givenUp: Promise<never>
  /** An engine process was started, or none ever will be. */
  readonly launched: Promise<void>
  #resolveReady: (description: EngineDescription) => void = () => {}
  #rejectReady: (error: Error) => void = () => {}
  #giveUp: (error: Error) => void = () => {}
  #resolveLaunched: () => void = () => {}
  #wasReady = false

  constructor() {
    this.ready = new Promise((resolve, reject) => {
      this.#resolveReady = resolve
      this.#rejectReady = reject
    })
    this.givenUp = new Promise((_, reject) => {
      this.#giveUp = reject
    })
    this.launched = new Promise((resolve) => {
      this.#resolveLaunched = resolve
    })
    // Whoever waits for them hears of a failure; until then it must not count as unheard.
    this.ready.catch(() => {})
    this.givenUp.catch(() => {})
  }

  onLaunched(): void {
    this.#resolveLaunched()
  }

  onReady(description: EngineDescription): void {
    this.#wasReady = true
    this.#resolveReady(description)
  }

  onFailed(error: Error): void {
    this.#resolveLaunched()
    if (this.#wasReady) this.#giveUp(error)
    else this.#rejectReady(error)
  }
}
