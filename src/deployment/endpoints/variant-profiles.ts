/**
 * What each way to serve a model would take, before anything is loaded: of an endpoint's variants, or of a source that no
 * endpoint names, in every format of weights. Reads what the store has; fetches nothing.
 */

import { SOURCE_WEIGHTS, WEIGHT_FORMATS } from '../../base/weights-choice.ts'
import { deploymentError } from '../errors.ts'
import type { EndpointPool } from './endpoint-pool.ts'
import type { EndpointSpec, VariantSpec } from './endpoint-spec.ts'
import type { VariantProfile } from './endpoints-admin.ts'
import { totalBytes } from './memory-budget.ts'
import type { PreparedVariant } from './pool-tools.ts'

/**
 * @param plain - an endpoint as it is where nobody says otherwise, for a source
 * @throws ServingError DEPLOYMENT_NOT_STORED; of the store for an unknown source
 */
export async function profileVariants(
  pool: EndpointPool,
  idOrNameOrSource: string,
  plain: (source: string) => EndpointSpec,
): Promise<readonly VariantProfile[]> {
  const endpoint =
    pool.endpoints.get(idOrNameOrSource) ??
    [...pool.endpoints.values()].find(({ id }) => id === idOrNameOrSource)
  if (endpoint !== undefined) {
    const all = [...endpoint.variants.values()]
    return Promise.all(
      all.map(async ({ spec, prepared, phase, tokensPerSecond }) => {
        const known = prepared ?? (await planned(pool, endpoint.spec, spec))
        return profileOf(pool, spec, { known, isLoaded: phase === 'ready', tokensPerSecond })
      }),
    )
  }
  const spec = plain(idOrNameOrSource)
  const [first] = spec.variants
  const profiles: VariantProfile[] = []
  for (const format of first === undefined ? [] : WEIGHT_FORMATS) {
    const variant = {
      ...first,
      name: format,
      weights: { ...SOURCE_WEIGHTS, format },
    } as VariantSpec
    const known = await planned(pool, spec, variant)
    profiles.push(profileOf(pool, variant, { known, isLoaded: false, tokensPerSecond: null }))
  }
  return profiles
}

async function planned(
  pool: EndpointPool,
  spec: EndpointSpec,
  variant: VariantSpec,
): Promise<PreparedVariant> {
  const prepared = await pool.tools.planStored(spec, variant)
  if (prepared !== null) return prepared
  const details = { name: spec.name, source: variant.source }
  throw deploymentError('DEPLOYMENT_NOT_STORED', { details })
}

interface Known {
  readonly known: PreparedVariant
  readonly isLoaded: boolean
  readonly tokensPerSecond: number | null
}

function profileOf(
  { budget, reclaimableBytes }: EndpointPool,
  { name, qualityKl }: VariantSpec,
  { known, isLoaded, tokensPerSecond }: Known,
): VariantProfile {
  const { card, size, quantization, kvBytesPerToken } = known
  const total = totalBytes(size)
  return {
    variant: name,
    quantization,
    format: card.quantization,
    weightsBytes: size.weightsBytes,
    kvBytesPerToken,
    kvMemoryBytes: size.kvBytes,
    maxContextTokens: card.maxContextTokens,
    totalBytes: total,
    fitsNow: isLoaded || total <= budget.freeBytes + reclaimableBytes,
    qualityKl,
    tokensPerSecond,
  }
}
