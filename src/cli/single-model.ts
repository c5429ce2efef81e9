/**
 * `ingot serve MODEL` as a pool of one endpoint that was not declared: pinned, planned for the whole machine as ever, its
 * further names as aliases. Pure but for the plan.
 */

import type { RuntimeConfig } from '../config/runtime-config.ts'
import { completeSpec, retentionOf } from '../deployment/endpoints/endpoint-defaults.ts'
import type {
  AliasSpec,
  EndpointCatalog,
  EndpointSpec,
} from '../deployment/endpoints/endpoint-spec.ts'

/** An endpoint of one model as the configuration's settings would serve it. */
export function plainEndpoint(
  name: string,
  source: string,
  { model, engine, store }: Pick<RuntimeConfig, 'model' | 'engine' | 'store'>,
): EndpointSpec {
  return completeSpec({
    name,
    mode: 'serverless',
    variants: [
      {
        name: 'default',
        source,
        digest: null,
        weights: model.weights,
        activations: engine.activations,
        kvDtype: engine.kvDtype,
        qualityKl: null,
      },
    ],
    inactiveTimeoutMs: null,
    coldStartWaitMs: 0,
    retention: retentionOf(store),
  })
}

/** @param names - first the id */
export function singleCatalog(
  source: string,
  names: readonly string[],
  config: Pick<RuntimeConfig, 'model' | 'engine' | 'store'>,
): Pick<EndpointCatalog, 'endpoints' | 'aliases'> {
  const [id = 'model', ...others] = names
  const endpoint = { ...plainEndpoint(id, source, config), isPinned: true }
  const alias = (name: string): AliasSpec => ({
    name,
    targets: [id],
    allowFallbacks: true,
    quantizations: null,
    revision: 'newest',
    region: null,
    retention: null,
  })
  return { endpoints: [endpoint], aliases: others.map(alias) }
}
