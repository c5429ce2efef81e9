/**
 * What stands in an answer of who served it, for requests that sent `provider` (even an empty one): OpenRouter's
 * `provider`, and `ingot` with the rest. Other requests get neither, so that strict clients read what OpenAI documents.
 */

import type { ServedBy } from '../../../deployment/endpoints/routing.ts'
import type { StartedEvent } from '../../generation-run.ts'
import type { ProviderBody } from './provider-schema.ts'

/** For every body and chunk. */
export function providerOf(asked: ProviderBody | null, started: StartedEvent | undefined): object {
  const served = started?.served
  return asked === null || served === undefined ? {} : { provider: served.endpoint }
}

/** For a whole body, and a choice's first chunk. */
export function servedOf(asked: ProviderBody | null, started: StartedEvent | undefined): object {
  const served = started?.served
  return asked === null || served === undefined ? {} : { ingot: servedObject(served) }
}

function servedObject(served: ServedBy): object {
  return {
    endpoint: served.endpoint,
    variant: served.variant,
    reason: served.reason,
    quantization: served.quantization,
    model_revision: served.modelRevision,
    serving_config_digest: served.servingConfigDigest,
    region: served.region,
    retention: served.retention,
    fallbacks: served.fallbacks,
  }
}
