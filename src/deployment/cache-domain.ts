/**
 * Which requests may find each other's cached prompt beginnings: those of one principal with one `cache_salt`. A hit can
 * be seen in the answer's timing, so a domain is also what one caller can learn about another's prompts: nothing.
 *
 * Owns nothing. Until organisations exist, a principal (a bearer token's digest, or the local caller) is the tenant.
 */

import { createHash } from 'node:crypto'
import type { GenerationRequest } from './generation.ts'

/** 128 bits of SHA-256 over both, each with its length before it, so that no two pairs are one text. */
export function cacheDomain({
  principal,
  cacheSalt,
}: Pick<GenerationRequest, 'principal' | 'cacheSalt'>): Int32Array {
  const hash = createHash('sha256')
  for (const part of [principal, cacheSalt ?? '']) {
    const bytes = Buffer.from(part, 'utf8')
    hash.update(`${bytes.length}:`).update(bytes)
  }
  const digest = hash.digest()
  return Int32Array.from({ length: 4 }, (_, word) => digest.readInt32LE(4 * word))
}
