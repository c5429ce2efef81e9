/** Refusals of a model that is not loaded, each with what it waits for and when to come again. Owns nothing. */

import { ServingError } from '../../base/errors.ts'
import { deploymentError } from '../errors.ts'

export interface ColdModel {
  readonly reason: string | null
  retryAfterSeconds(): number
}

export function coldError(model: string, cold: ColdModel): ServingError {
  const retryAfterSeconds = cold.retryAfterSeconds()
  const details = { model, reason: cold.reason ?? 'it is not loaded', retryAfterSeconds }
  return deploymentError('DEPLOYMENT_NOT_READY', { retryAfterSeconds, details })
}

export function failedError(failure: Error | null, model: string, cold: ColdModel): ServingError {
  // Coming again would not help, and the arithmetic says what would.
  if (failure instanceof ServingError && failure.code === 'DEPLOYMENT_NEVER_FITS') return failure
  const retryAfterSeconds = cold.retryAfterSeconds()
  const reason = failure?.message ?? 'no reason is known'
  const options = { retryAfterSeconds, details: { model, reason, retryAfterSeconds } }
  return deploymentError('DEPLOYMENT_LOAD_FAILED', { ...options, cause: failure })
}

/** It was removed while the request waited for it. */
export function goneError(model: string): ServingError {
  const reason = 'it is being taken down'
  return deploymentError('DEPLOYMENT_DRAINING', { details: { model, reason } })
}

export function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}

/** @returns whether `act` threw; then `onError` was told */
export function failed(act: () => unknown, onError: (error: Error) => void): boolean {
  try {
    act()
    return false
  } catch (error) {
    onError(asError(error))
    return true
  }
}
