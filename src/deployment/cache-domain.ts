/**
 * Which requests may find each other's cached prompt beginnings: those of one principal with one `cache_salt`,
 * answered by one adapter or by none. A hit can
 * be seen in the answer's timing, so a domain is also what one caller can learn about another's prompts: nothing.
 *
 * `prompt_cache_key` opens and closes nothing here: it only says which requests should meet the same replica's cache.
 *
 * Owns nothing. Until organisations exist, a principal (a bearer token's digest, or the local caller) is the tenant.
 */

import { createHash } from 'node:crypto'
import type { GenerationRequest } from './generation.ts'

/**
 * 128 bits of SHA-256 over all, each with its length before it, so that no two requests' are one text.
 *
 * @param adapterDigest - keys and values are those of this adapter; `null` = none
 */
export function cacheDomain(
  { principal, cacheSalt }: Pick<GenerationRequest, 'principal' | 'cacheSalt'>,
  adapterDigest: string | null = null,
): Int32Array {
  const adapter = adapterDigest === null ? [] : [adapterDigest]
  const digest = digestOf([principal, cacheSalt ?? '', ...adapter])
  return Int32Array.from({ length: 4 }, (_, word) => digest.readInt32LE(4 * word))
}

/** What stands for a caller's `prompt_cache_key` from here on: 16 hex digits, for a key may name a person. */
export function affinityKey({
  principal,
  cacheKey,
}: Pick<GenerationRequest, 'principal' | 'cacheKey'>): string | null {
  return cacheKey === null ? null : digestOf([principal, cacheKey]).toString('hex', 0, 8)
}

function digestOf(parts: readonly string[]): Buffer {
  const hash = createHash('sha256')
  for (const part of parts) {
    const bytes = Buffer.from(part, 'utf8')
    hash.update(`${bytes.length}:`).update(bytes)
  }
  return hash.digest()
}
