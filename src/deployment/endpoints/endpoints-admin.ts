/**
 * The port through which the admin API and the commands see and change endpoints; implemented by `endpoint-pool.ts`, faked
 * in API tests. Types only.
 *
 * I1 a change is applied as a whole or not at all: when a call rejects, what was declared before still serves.
 * I2 every change is written to the append-only history with who and when before it is applied.
 */

import type { ReplicaHealth } from '../deployments.ts'
import type { AliasSpec, EndpointSpec, Quantization } from './endpoint-spec.ts'

/** Together's words. `PENDING`: declared, weights not in the store yet. `ERROR`: will not come by itself. */
export type EndpointState = 'PENDING' | 'STARTING' | 'STARTED' | 'STOPPING' | 'STOPPED' | 'ERROR'

export interface EndpointStatus {
  /** `endpoint-` and a UUID; stays while the endpoint lives. */
  readonly id: string
  readonly spec: EndpointSpec
  /** `STARTED` of a serverless or scaled-to-zero endpoint says that it answers requests, loaded or not. */
  readonly state: EndpointState
  /** Why it is not `STARTED`, in one sentence. */
  readonly reason: string | null
  readonly replicas: readonly ReplicaHealth[]
  /** The variant that is loaded or loading, and why that one; `null` while cold. */
  readonly variant: { readonly name: string; readonly reason: string } | null
  /** Bytes that its processes hold now, as planned. */
  readonly reservedBytes: number
  /** Median of the measured times from cold to ready, milliseconds; `null` before the first. */
  readonly loadMs: number | null
  /** Milliseconds since a request last used it; `null` = never. */
  readonly idleMs: number | null
  /** Seconds since 1970. */
  readonly createdAt: number
  readonly numOpenRequests: number
  /** What becomes of a new revision, in one sentence; absent or `null` = there is none. */
  readonly rollout?: string | null
}

/** One way to serve a model, with what it would take, before anything is loaded. */
export interface VariantProfile {
  readonly variant: string
  readonly quantization: Quantization
  /** Format names as the checkpoint and plan give them, such as `Q4_1`. */
  readonly format: string
  readonly weightsBytes: number
  readonly kvBytesPerToken: number
  readonly kvMemoryBytes: number
  readonly maxContextTokens: number
  /** Weights, KV and a process together. */
  readonly totalBytes: number
  readonly fitsNow: boolean
  readonly qualityKl: number | null
  readonly tokensPerSecond: number | null
}

/** An alias or endpoint changed; the history is only ever added to. */
export interface CatalogChange {
  readonly sequence: number
  /** ISO 8601 in UTC. */
  readonly time: string
  /** Principal, or `config file`, `SIGHUP`. */
  readonly who: string
  readonly what: 'endpoint' | 'alias'
  readonly name: string
  /** Who declares this name: only `api` comes back after a restart by itself, a file declares anew. */
  readonly origin: 'file' | 'api'
  /** `null` = it did not exist. */
  readonly before: EndpointSpec | AliasSpec | null
  /** `null` = it was removed. */
  readonly after: EndpointSpec | AliasSpec | null
}

export interface PoolStatus {
  readonly budgetBytes: number
  readonly budgetReason: string
  readonly reservedBytes: number
  readonly residentBytes: number
  readonly numLoading: number
  readonly endpoints: readonly EndpointStatus[]
}

export interface EndpointsAdmin {
  status(): PoolStatus
  /** By id or name. @throws ServingError DEPLOYMENT_UNKNOWN_ENDPOINT (404) */
  get(idOrName: string): EndpointStatus
  /** @throws ServingError when the name is taken (409), the source is unknown, or it can never fit the budget (with the arithmetic) */
  create(spec: EndpointSpec, who: string): Promise<EndpointStatus>
  /** Changes what is given and nothing else; a new digest or source rolls out by the endpoint's rollout policy. */
  update(
    idOrName: string,
    patch: Partial<Omit<EndpointSpec, 'name' | 'mode'>>,
    who: string,
  ): Promise<EndpointStatus>
  /** Drains first. */
  remove(idOrName: string, who: string): Promise<void>
  /** Load now; resolves when it is ready. `variant` = which, else by policy. */
  load(idOrName: string, variant?: string): Promise<EndpointStatus>
  /** Unload now, after its requests have ended; refused (409) while pinned. */
  unload(idOrName: string): Promise<EndpointStatus>
  /**
   * By id or name of an endpoint, or for a model as `ingot serve MODEL` takes it that no endpoint names yet; reads what
   * the store has and fetches nothing.
   */
  profiles(idOrNameOrSource: string): Promise<readonly VariantProfile[]>
  aliases(): readonly AliasSpec[]
  /** `null` removes it. */
  setAlias(name: string, alias: AliasSpec | null, who: string): Promise<void>
  history(name?: string): Promise<readonly CatalogChange[]>
  /** Read the configuration file again and apply it, all or nothing. */
  reload(who: string): Promise<{ readonly changes: readonly CatalogChange[] }>
}
