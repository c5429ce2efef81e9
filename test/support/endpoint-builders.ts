/** Endpoints, variants and aliases with every field filled, for tests that care about a few. */

import { SOURCE_WEIGHTS } from '../../src/base/weights-choice.ts'
import type {
  AliasSpec,
  EndpointSpec,
  VariantSpec,
} from '../../src/deployment/endpoints/endpoint-spec.ts'
import type {
  CatalogView,
  EndpointFacts,
  VariantFacts,
} from '../../src/deployment/endpoints/facts.ts'
import type { RoutingConstraints } from '../../src/deployment/endpoints/routing.ts'

const GIBIBYTE = 2 ** 30

export function variantFacts(fields: Partial<VariantFacts> = {}): VariantFacts {
  return {
    name: 'int4',
    quantization: 'int4',
    isPinned: false,
    isLoaded: false,
    totalBytes: GIBIBYTE,
    qualityKl: null,
    tokensPerSecond: null,
    ...fields,
  }
}

export function endpointFacts(fields: Partial<EndpointFacts> = {}): EndpointFacts {
  return {
    name: 'a',
    region: null,
    retention: 'standard',
    variants: [variantFacts()],
    unavailable: null,
    ...fields,
  }
}

export function aliasSpec(fields: Partial<AliasSpec> = {}): AliasSpec {
  return {
    name: 'chat',
    targets: ['a'],
    allowFallbacks: true,
    quantizations: null,
    revision: 'newest',
    region: null,
    retention: null,
    ...fields,
  }
}

export function variantSpec(fields: Partial<VariantSpec> = {}): VariantSpec {
  return {
    name: 'source',
    source: 'smollm2-135m-instruct',
    digest: null,
    weights: SOURCE_WEIGHTS,
    activations: 'int8',
    kvDtype: null,
    qualityKl: null,
    ...fields,
  }
}

export function endpointSpec(fields: Partial<EndpointSpec> = {}): EndpointSpec {
  return {
    name: 'a',
    displayName: null,
    mode: 'serverless',
    variants: [variantSpec()],
    state: 'STARTED',
    kvMemoryBytes: null,
    maxContextTokens: null,
    maxNumSeqs: null,
    maxQueuedSequences: null,
    threads: null,
    maxDraftTokens: null,
    prefixCache: null,
    cpuSets: [],
    inactiveTimeoutMs: null,
    isPinned: false,
    coldStartWaitMs: 0,
    autoscaling: {
      minReplicas: 0,
      maxReplicas: 1,
      targetLoad: 0.8,
      scaleUpWindowMs: 30_000,
      scaleDownWindowMs: 600_000,
    },
    region: null,
    retention: 'standard',
    ...fields,
  }
}

export function catalogView(
  endpoints: readonly EndpointFacts[],
  aliases: readonly AliasSpec[] = [],
): CatalogView {
  return {
    endpoints: new Map(endpoints.map((one) => [one.name, one])),
    aliases: new Map(aliases.map((one) => [one.name, one])),
  }
}

export function routing(fields: Partial<RoutingConstraints> = {}): RoutingConstraints {
  return {
    order: [],
    only: null,
    ignore: [],
    quantizations: null,
    allowFallbacks: true,
    requiresNoRetention: false,
    sort: null,
    ...fields,
  }
}
