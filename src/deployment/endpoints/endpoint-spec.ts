/**
 * What an operator declares: endpoints, the variants of a model that each may serve with, and aliases. Plain frozen data
 * that the configuration file and the admin API both end in; nothing here says what is running.
 *
 * Owns nothing: types and their words. Sizes are decided when an endpoint is planned (`engine-plan.ts`), so `null` means automatic.
 */

import type { KvDtype } from '../../base/kv-dtype.ts'
import type { WeightsChoice } from '../../base/weights-choice.ts'

/** Serverless endpoints share one memory budget and come and go with use; dedicated ones keep what they reserved. */
export type EndpointMode = 'serverless' | 'dedicated'

/** OpenRouter's words for weight formats, which requests constrain; `unknown` = none of them says it. */
export const QUANTIZATIONS = [
  'int4',
  'int8',
  'fp4',
  'fp6',
  'fp8',
  'fp16',
  'bf16',
  'fp32',
  'unknown',
] as const

export type Quantization = (typeof QUANTIZATIONS)[number]

/** One way to serve a model: these weights in this format. */
export interface VariantSpec {
  /** Unique within its endpoint, such as `int4`. */
  readonly name: string
  /** As `ingot serve MODEL` takes it: a catalog name, a path or a source. */
  readonly source: string
  /** Pinned revision, `sha256:` and 64 hex digits; other weights are refused. `null` = whatever the source gives. */
  readonly digest: string | null
  readonly weights: WeightsChoice
  readonly activations: 'f32' | 'bf16' | 'int8'
  /** `null` = as the configuration's `engine.kvDtype`. */
  readonly kvDtype: KvDtype | null
  /** Mean KL to the f32 answer in nats, measured by `ingot bench quality`; `null` = not measured. */
  readonly qualityKl: number | null
}

/** When a dedicated endpoint gets another replica, and when it gives one back. Fireworks' and Knative's windows. */
export interface AutoscalingSpec {
  /** 0 ≤ min ≤ max ≤ 64; 0 lets it scale to zero. */
  readonly minReplicas: number
  readonly maxReplicas: number
  /** Load as a share of what a replica can take, 0 < x ≤ 1, above which one is added. */
  readonly targetLoad: number
  /** Milliseconds that load must stay above or below the target first. */
  readonly scaleUpWindowMs: number
  readonly scaleDownWindowMs: number
}

/** How another revision takes over: with a share of the requests first, or at once. */
export interface RolloutSpec {
  /** Of the requests, 1 … 100, while it is observed. */
  readonly percent: number
  readonly observeMs: number
  /** Share of its requests that may fail before it is taken back, 0 … 1. */
  readonly maxErrorRate: number
  /** Requests before its errors are judged, ≥ 1. */
  readonly minRequests: number
}

export interface EndpointSpec {
  /** Name in requests and in the API; unique over endpoints and aliases, `[A-Za-z0-9][A-Za-z0-9._/:-]{0,199}`. */
  readonly name: string
  /** What people call it, told back and otherwise unused; `null` = nothing but the name. */
  readonly displayName: string | null
  readonly mode: EndpointMode
  /** At least one, best first; which of them serves is decided by `choose-variant.ts`. */
  readonly variants: readonly VariantSpec[]
  /** `STOPPED` endpoints are known and refuse requests. */
  readonly state: 'STARTED' | 'STOPPED'
  /** KV memory of each replica, bytes; `null` = automatic. */
  readonly kvMemoryBytes: number | null
  readonly maxContextTokens: number | null
  readonly maxNumSeqs: number | null
  readonly maxQueuedSequences: number | null
  /** Compute threads of each replica; `null` = the machine's cores shared out. */
  readonly threads: number | null
  /** Tokens guessed in a step at most; 0 = no speculation, `null` = as the configuration. */
  readonly maxDraftTokens: number | null
  /** Whether prompt beginnings are found again; `null` = as the configuration. */
  readonly prefixCache: boolean | null
  /** CPUs that replica i is bound to; shorter than the replicas = the rest are free to run anywhere. */
  readonly cpuSets: readonly string[]
  /** Unused for so long it is unloaded (serverless) or scaled to zero (dedicated); `null` = never. */
  readonly inactiveTimeoutMs: number | null
  /** Serverless: never unloaded to make room. */
  readonly isPinned: boolean
  /** How long a request waits for a cold endpoint where it names no limit of its own; 0 = 503 at once. */
  readonly coldStartWaitMs: number
  /** Dedicated only; serverless has at most one replica. */
  readonly autoscaling: AutoscalingSpec
  /** Label of where it runs, told in answers and matched by constraints; `null` = none. */
  readonly region: string | null
  /** What is kept of requests: `none` is zero data retention, so without the disk cache of keys and values. */
  readonly retention: 'none' | 'standard'
  /** Absent or `null` = the old revision ends with its open requests, and the new one loads in its place. */
  readonly rollout?: RolloutSpec | null
}

export interface AliasSpec {
  readonly name: string
  /**
   * Names of endpoints in order of preference, or of aliases whose policies are then met too; using any but the first is
   * a fallback.
   */
  readonly targets: readonly string[]
  /** False: the first target alone. */
  readonly allowFallbacks: boolean
  /** Serve only variants of these formats; `null` = all. */
  readonly quantizations: readonly Quantization[] | null
  /** `pinned`: only variants with a digest; `newest`: whatever the source gives now. */
  readonly revision: 'pinned' | 'newest'
  /** Only endpoints with this label, with this retention; `null` = any. */
  readonly region: string | null
  readonly retention: 'none' | 'standard' | null
}

/** Everything declared at one moment; replaced as a whole or not at all. */
export interface EndpointCatalog {
  /** Weights, KV and 128 MiB a process of all loaded models together, bytes; `null` = automatic. */
  readonly memoryBudgetBytes: number | null
  /** Models that may load at the same time, ≥ 1. */
  readonly maxConcurrentLoads: number
  readonly endpoints: readonly EndpointSpec[]
  readonly aliases: readonly AliasSpec[]
}
