/**
 * `X-Scale-Up-Timeout`, Hugging Face's header: seconds for which a request is held while what it asks for is loaded,
 * instead of a 503 at once. Knows no dialect.
 */

import type { IncomingHttpHeaders } from 'node:http'
import { invalidValue } from './errors.ts'

const HEADER = 'X-Scale-Up-Timeout'
/** An hour: longer than any model here takes to load. */
const MAX_SECONDS = 3600

/** @returns milliseconds; `null` when the header is absent. @throws ServingError SERVER_INVALID_VALUE */
export function coldStartWait(headers: IncomingHttpHeaders): number | null {
  const written = headers['x-scale-up-timeout']
  if (written === undefined) return null
  const seconds =
    typeof written === 'string' && /^\d{1,4}(?:\.\d{1,3})?$/.test(written.trim())
      ? Number(written)
      : Number.NaN
  if (seconds <= MAX_SECONDS) return Math.round(seconds * 1000)
  const got = `a value of length ${written.length}`
  throw invalidValue(HEADER, `a number of seconds from 0 to ${MAX_SECONDS}`, got)
}
