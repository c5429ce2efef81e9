/**
 * Who asks. For now a request's principal is the digest of its bearer token, or `local` when it carries none.
 *
 * Owns nothing and keeps no token: the digest is what logs, records and per-caller limits may see, so a leaked record
 * does not leak a key. Whether a token is allowed is decided by keys and scopes, which come with the accounts issue and
 * start from this type. Does not know HTTP beyond the two header values that it is handed.
 */

import { createHash } from 'node:crypto'

/** `local`, or `key:` and the first 32 hex digits of the token's sha-256 (128 bits: no collision by chance). */
export type Principal = string

export const LOCAL_PRINCIPAL: Principal = 'local'

const BEARER = /^bearer[ \t]+(\S+)[ \t]*$/i
const DIGEST_HEX_DIGITS = 32

/**
 * @param authorization - the `Authorization` header, as it came
 * @param apiKey - the `x-api-key` or `api-key` header, which some clients send instead
 */
export function principalOf(authorization: string | undefined, apiKey?: string): Principal {
  const token = BEARER.exec(authorization ?? '')?.[1] ?? apiKey
  if (token === undefined || token === '') return LOCAL_PRINCIPAL
  return `key:${createHash('sha256').update(token).digest('hex').slice(0, DIGEST_HEX_DIGITS)}`
}
