/** What an endpoint is where nobody says otherwise, whether a file or the API declares it. Each with its reason. */

import type { StoreConfig } from '../../config/runtime-config.ts'
import type { AutoscalingSpec, EndpointMode, EndpointSpec, RolloutSpec } from './endpoint-spec.ts'

/** As Fireworks': up after half a minute above 80 % of what a replica can take, down after ten below. */
export const DEFAULT_AUTOSCALING: AutoscalingSpec = Object.freeze({
  minReplicas: 1,
  maxReplicas: 1,
  targetLoad: 0.8,
  scaleUpWindowMs: 30_000,
  scaleDownWindowMs: 600_000,
})

/** A tenth of the requests for ten minutes; one failure in twenty is one too many. */
export const DEFAULT_ROLLOUT: RolloutSpec = Object.freeze({
  percent: 10,
  observeMs: 600_000,
  maxErrorRate: 0.05,
  minRequests: 5,
})

/** One replica or none. */
export const SERVERLESS_AUTOSCALING: AutoscalingSpec = Object.freeze({
  ...DEFAULT_AUTOSCALING,
  minReplicas: 0,
})

/** A cold start takes seconds; long enough for a queue of them. */
export const DEFAULT_COLD_START_WAIT_MS = 30_000

/** Loads are bound by memory bandwidth; two at once make both late. */
export const DEFAULT_CONCURRENT_LOADS = 1

/** Ten minutes unused give a serverless model's memory back; a dedicated one keeps what it reserved. */
export function defaultInactiveTimeoutMs(mode: EndpointMode): number | null {
  return mode === 'serverless' ? 600_000 : null
}

export function defaultAutoscaling(mode: EndpointMode): AutoscalingSpec {
  return mode === 'serverless' ? SERVERLESS_AUTOSCALING : DEFAULT_AUTOSCALING
}

/** No text of a request is kept anywhere, unless the disk cache of keys and values is on. */
export const DEFAULT_RETENTION = 'none'

export function retentionOf({ kvDisk }: Pick<StoreConfig, 'kvDisk'>): EndpointSpec['retention'] {
  return kvDisk.limitBytes > 0 ? 'standard' : DEFAULT_RETENTION
}

/** What a record of an older version means by a field that it lacks: what was so before there was such a field. */
export function completeSpec(
  spec: Partial<EndpointSpec> & Pick<EndpointSpec, 'name' | 'mode' | 'variants'>,
): EndpointSpec {
  const fields: Omit<EndpointSpec, 'name' | 'mode' | 'variants'> = {
    displayName: null,
    state: 'STARTED',
    kvMemoryBytes: null,
    maxContextTokens: null,
    maxNumSeqs: null,
    maxQueuedSequences: null,
    threads: null,
    maxDraftTokens: null,
    prefixCache: null,
    cpuSets: [],
    inactiveTimeoutMs: defaultInactiveTimeoutMs(spec.mode),
    isPinned: false,
    coldStartWaitMs: DEFAULT_COLD_START_WAIT_MS,
    autoscaling: defaultAutoscaling(spec.mode),
    region: null,
    retention: DEFAULT_RETENTION,
  }
  return { ...fields, ...spec }
}
