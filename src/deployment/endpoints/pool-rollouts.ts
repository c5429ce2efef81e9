/**
 * The new revisions of a pool's endpoints that are being rolled out, and what became of the last ones. Owns the rollouts;
 * the endpoints themselves are the pool's.
 */

import type { Clock } from '../../base/clock.ts'
import type { Timer } from '../../worker/timer.ts'
import type { GenerationRequest } from '../generation.ts'
import type { Endpoint } from './endpoint.ts'
import { EndpointRollout } from './endpoint-rollout.ts'
import type { Candidate } from './resolve-alias.ts'

export interface Chosen {
  readonly endpoint: Endpoint
  /** Hears how the request ended; absent for what serves already. */
  readonly observe: ((error: unknown) => void) | undefined
}

export class PoolRollouts {
  readonly #time: { readonly clock: Clock; readonly timer: Timer }
  readonly #running = new Map<string, EndpointRollout>()
  /** Why the last new revision of a name was taken back. */
  readonly #takenBack = new Map<string, string>()

  constructor(time: { readonly clock: Clock; readonly timer: Timer }) {
    this.#time = time
  }

  get candidates(): readonly Endpoint[] {
    return [...this.#running.values()].map(({ candidate }) => candidate)
  }

  /** @param onEnd - why it was taken back; `null` = it takes over */
  begin(stable: Endpoint, candidate: Endpoint, onEnd: (reason: string | null) => void): void {
    const { name, spec } = candidate
    if (spec.rollout === undefined || spec.rollout === null) return
    const rollout = new EndpointRollout({
      ...{ stable, candidate, spec: spec.rollout, ...this.#time },
      onEnd: (reason) => {
        this.#running.delete(name)
        if (reason !== null) this.#takenBack.set(name, reason)
        onEnd(reason)
      },
    })
    this.#running.set(name, rollout)
  }

  /** @returns the candidate that is nothing any more; `null` = none was running */
  stop(name: string): Endpoint | null {
    this.#takenBack.delete(name)
    const rollout = this.#running.get(name)
    if (rollout === undefined) return null
    rollout.stop()
    this.#running.delete(name)
    return rollout.candidate
  }

  /** Where a request goes that may go to this endpoint; to the new revision only where that has what it may use. */
  choose(endpoint: Endpoint, request: GenerationRequest, { variants }: Candidate): Chosen {
    const rollout = this.#running.get(endpoint.name)
    const chosen = rollout?.choose(request) ?? endpoint
    const isUsable = variants.some((variant) => chosen.variants.has(variant))
    if (rollout === undefined || chosen === endpoint || !isUsable) {
      return { endpoint, observe: undefined }
    }
    return { endpoint: chosen, observe: (error) => rollout.observe(error) }
  }

  /** What is to be told of a new revision; `null` = there is none. */
  words(name: string): string | null {
    const reason = this.#takenBack.get(name)
    const told = reason === undefined ? null : `the new revision was taken back: ${reason}`
    return this.#running.get(name)?.words ?? told
  }
}
