/** The `ServingError` that a promise ends with; anything else, success included, fails the test. */

import { ServingError } from '../../src/base/errors.ts'

export async function caught(promise: Promise<unknown>): Promise<ServingError> {
  let value: unknown
  try {
    value = await promise
  } catch (error) {
    if (error instanceof ServingError) return error
    throw new Error('expected a ServingError, got another error', { cause: error })
  }
  throw new Error(`expected a ServingError, got ${JSON.stringify(value)}`)
}
