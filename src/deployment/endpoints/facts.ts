/**
 * What is known of endpoints and their variants at one moment: what names are resolved against and variants chosen by.
 * Types only; the pool fills them from what is declared, planned, measured and running.
 */

import type { AliasSpec, Quantization } from './endpoint-spec.ts'

export interface VariantFacts {
  readonly name: string
  readonly quantization: Quantization
  /** Its weights are pinned by a digest. */
  readonly isPinned: boolean
  /** Answers without a cold start. */
  readonly isLoaded: boolean
  /** Weights, KV and a process together, as planned. */
  readonly totalBytes: number
  /** Mean KL to the f32 answer in nats; `null` = not measured. */
  readonly qualityKl: number | null
  /** Measured when last loaded, or told; `null` = not measured. */
  readonly tokensPerSecond: number | null
}

export interface EndpointFacts {
  readonly name: string
  readonly region: string | null
  readonly retention: 'none' | 'standard'
  /** In the order of its declaration, best first; at least one. */
  readonly variants: readonly VariantFacts[]
  /** Why it takes no request now, not even one that waits for it; `null` = it does. */
  readonly unavailable: {
    readonly reason: string
    /** `null` = trying again will not help until somebody acts. */
    readonly retryAfterSeconds: number | null
  } | null
}

/** Everything that a name can mean. */
export interface CatalogView {
  readonly endpoints: ReadonlyMap<string, EndpointFacts>
  readonly aliases: ReadonlyMap<string, AliasSpec>
}
