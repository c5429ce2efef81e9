/**
 * One digest over everything that can change an answer besides the request itself: the weights, the type they are
 * computed in, the kernels. Threads, memory and batch limits are left out, because no kernel lets them change a bit (D5).
 *
 * Owns the canonical form: JSON with keys sorted at every level and no white space (a subset of RFC 8785: strings,
 * safe integers, booleans, null).
 */

import { createHash } from 'node:crypto'

export interface ServingConfig {
  /** `sha256:` of the weights. */
  readonly modelDigest: string
  /** As the tokenizer and the template are part of the weights' file they need no digest of their own. */
  readonly weights: string
  readonly activations: string
  readonly kvDtype: string
  /** Kernel family of the machine: `avx512-vnni`, `avx2`, …; all are tested to give the same bits, which a proof does not rest on. */
  readonly kernels: string
  readonly ortVersion: string
  /** Ingot's own version. */
  readonly version: string
  /** Only where the number of threads can change a bit: an exported graph's stock kernels. */
  readonly threads?: number
  /** A longer context lets an answer without a limit go on. */
  readonly maxContextTokens: number
}

/** `sha256:` and 64 hex digits. */
export function servingConfigDigest(config: ServingConfig): string {
  return digestOf(config)
}

/** Of the canonical form of any plain value. */
export function digestOf(value: object): string {
  return `sha256:${createHash('sha256').update(canonicalJson(value)).digest('hex')}`
}

/** What a response shows of it: enough to see that something changed between two answers. */
export function systemFingerprint(version: string, digest: string): string {
  return `ingot-${version}-${digest.replace(/^sha256:/, '').slice(0, 8)}`
}

export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const record = value as Record<string, unknown>
  const members = Object.keys(record)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonicalJson(record[key])}`)
  return `{${members.join(',')}}`
}
