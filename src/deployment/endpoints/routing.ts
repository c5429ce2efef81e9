/**
 * What a request may ask of the place that serves it, and what an answer tells of the place that did. Types; a
 * dialect fills the first, the deployment honours or refuses it (`resolve-alias.ts`) and fills the second.
 */

import type { Quantization } from './endpoint-spec.ts'

/** Stands for every endpoint of this server where a constraint names providers. */
export const LOCAL_PROVIDER = 'ingot'

/** Each is honoured against local facts or the request is refused with its name; none is a hint. */
export interface RoutingConstraints {
  /** Endpoints to try first, in this order; `ingot` = all. */
  readonly order: readonly string[]
  /** No others than these; `null` = any. */
  readonly only: readonly string[] | null
  readonly ignore: readonly string[]
  /** Weight formats that may serve, at least one; `null` = any. */
  readonly quantizations: readonly Quantization[] | null
  /** False: only the first choice (with `order`, only what it names), or an error. */
  readonly allowFallbacks: boolean
  /** Only endpoints with retention `none`. */
  readonly requiresNoRetention: boolean
  /** Fastest measured first, instead of the alias's order. */
  readonly sort: 'throughput' | null
}

/** Which endpoint and variant answered, and why that one: for audit records and answers. */
export interface ServedBy {
  readonly endpoint: string
  readonly variant: string
  /** One sentence. */
  readonly reason: string
  readonly quantization: Quantization
  /** Digest of the weights, `sha256:` and 64 hex digits. */
  readonly modelRevision: string
  readonly servingConfigDigest: string
  readonly region: string | null
  readonly retention: 'none' | 'standard'
  /** What was passed over before the one that answered, each with its reason; empty = the first choice. */
  readonly fallbacks: readonly string[]
}
