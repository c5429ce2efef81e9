/**
 * Admits or refuses early: counts the sequences that run or wait at one model. A refusal says when to come back by the
 * engines' own prediction of the wait (`engine/wait-estimate.ts`); while they have none, by the recent pace of ends.
 *
 * I1 every admitted sequence is released exactly once, when the engine has let it go.
 * I2 nothing is admitted beyond maxNumSeqs + maxQueuedSequences.
 */

import type { Clock } from '../base/clock.ts'
import { invariant } from '../base/errors.ts'
import { deploymentError } from './errors.ts'

export interface AdmissionOptions {
  readonly modelId: string
  /** Of all replicas together; may change with their number. */
  maxNumSeqs(): number
  readonly maxQueuedSequences: number
  /** Milliseconds until the engines let one more in, as they predict; null while they cannot say. */
  admissionMs(): number | null
  readonly clock: Clock
}

/** Ends that the pace is taken from: enough for a steady figure, few enough to follow a change of load. */
const PACE_SAMPLES = 64
/** Said before anything has ended; a sequence of usual length takes about this long on a small machine. */
const FIRST_GUESS_SECONDS = 5
const MAX_RETRY_SECONDS = 600

export class Admission {
  readonly #options: AdmissionOptions
  /** Ring of the times at which sequences ended, milliseconds. */
  readonly #endedMs = new Float64Array(PACE_SAMPLES)
  #numEnded = 0
  #numActive = 0

  constructor(options: AdmissionOptions) {
    this.#options = options
  }

  /** Sequences that run or wait. */
  get numActive(): number {
    return this.#numActive
  }

  /**
   * Take `numSequences` at once, or none.
   *
   * @throws ServingError DEPLOYMENT_OVERLOADED with `retryAfterSeconds`; REQUEST_TOO_MANY_CHOICES when they could never fit
   */
  admit(numSequences: number): void {
    const capacity = this.#options.maxNumSeqs() + this.#options.maxQueuedSequences
    if (numSequences > capacity) {
      const details = { limit: capacity, got: numSequences }
      throw deploymentError('REQUEST_TOO_MANY_CHOICES', { param: 'n', details })
    }
    const numTooMany = this.#numActive + numSequences - capacity
    if (numTooMany > 0) {
      const retryAfterSeconds = this.#secondsUntilRoom(numTooMany)
      const { modelId: model } = this.#options
      throw deploymentError('DEPLOYMENT_OVERLOADED', {
        retryAfterSeconds,
        details: { model, numActive: this.#numActive, capacity, retryAfterSeconds },
      })
    }
    this.#numActive += numSequences
  }

  /** One sequence has ended in the engine. */
  release(): void {
    invariant(this.#numActive > 0, 'I1', 'a sequence was released that had not been admitted')
    this.#numActive -= 1
    this.#endedMs[this.#numEnded % PACE_SAMPLES] = this.#options.clock.nowMs()
    this.#numEnded += 1
  }

  /** A place in the queue is free when the engines have let one in. Whole seconds, 1 … 600. */
  #secondsUntilRoom(numSequences: number): number {
    const admissionMs = this.#options.admissionMs()
    const seconds =
      admissionMs === null
        ? this.#secondsUntilEnded(numSequences)
        : Math.ceil((numSequences * admissionMs) / 1000)
    return Math.min(MAX_RETRY_SECONDS, Math.max(1, seconds))
  }

  /** At the recent pace. The present moment counts as the end of the window, so a stall shows. */
  #secondsUntilEnded(numSequences: number): number {
    if (this.#numEnded === 0) return FIRST_GUESS_SECONDS
    const numSamples = Math.min(this.#numEnded, PACE_SAMPLES)
    const oldestMs = this.#endedMs[(this.#numEnded - numSamples) % PACE_SAMPLES] as number
    const spanSeconds = (this.#options.clock.nowMs() - oldestMs) / 1000
    return Math.ceil((numSequences * spanSeconds) / numSamples)
  }
}
