/**
 * Who uses a variant now and when it was last used: leases, open requests, the idle timer. Owns the count of leases. Does
 * not know phases or replicas.
 *
 * A lease bridges the time from the moment a request may use the variant until its run is counted by the deployment.
 */

import { invariant } from '../../base/errors.ts'
import type { ModelDeployment } from '../model-deployment.ts'
import { IdleTimer, type IdleTimerOptions } from './idle-timer.ts'
import type { Lease } from './variant-options.ts'

export interface VariantUseOptions extends IdleTimerOptions {
  /** The last lease and the last open request have ended. */
  onIdle(): void
}

export class VariantUse {
  /** `null` before the first load. */
  deployment: ModelDeployment | null = null
  readonly #onIdle: () => void
  readonly #timer: IdleTimer
  #numLeases = 0

  constructor(options: VariantUseOptions) {
    this.#onIdle = options.onIdle
    this.#timer = new IdleTimer(options)
  }

  get numOpen(): number {
    return this.#numLeases + (this.deployment?.numOpen ?? 0)
  }

  get lastUsedMs(): number {
    return this.#timer.lastUsedMs
  }

  /** Milliseconds since a request last used it; `null` = never. */
  get idleMs(): number | null {
    return this.numOpen > 0 ? 0 : this.#timer.idleMs
  }

  lease(): Lease {
    const { deployment } = this
    invariant(deployment !== null, 'P3', 'a variant is ready without its text tools')
    this.#numLeases += 1
    this.#timer.use()
    this.#timer.watch(null)
    let isHeld = true
    const release = (): void => {
      if (!isHeld) return
      isHeld = false
      this.#numLeases -= 1
      this.maybeIdle()
    }
    return { deployment, release }
  }

  /** A lease or an open request has ended. */
  maybeIdle(): void {
    if (this.numOpen > 0) return
    this.#timer.use()
    this.#onIdle()
  }

  /** Say when it was idle for so long from now on; `null` = do not. */
  watch(timeoutMs: number | null): void {
    this.#timer.watch(this.numOpen > 0 ? null : timeoutMs)
  }
}
