/**
 * From OpenRouter's `provider` to our constraints. `data_collection: "deny"` and `zdr: true` both ask for endpoints that
 * keep nothing; `require_parameters` is what happens anyway. Owns nothing.
 */

import type { RoutingConstraints } from '../../../deployment/endpoints/routing.ts'
import { unsupported } from '../../errors.ts'
import { type ProviderBody, UNSUPPORTED_PROVIDER_FIELDS } from './provider-schema.ts'

/** @returns `null` when nothing was asked. @throws ServingError SERVER_UNSUPPORTED_PARAMETER naming the field */
export function translateProvider(body: ProviderBody | null): RoutingConstraints | null {
  if (body === null) return null
  for (const name of UNSUPPORTED_PROVIDER_FIELDS) {
    if ((body[name] ?? null) !== null) throw unsupported(`provider.${name}`, 'null')
  }
  return {
    order: body.order ?? [],
    only: body.only ?? null,
    ignore: body.ignore ?? [],
    quantizations: body.quantizations ?? null,
    allowFallbacks: body.allow_fallbacks ?? true,
    requiresNoRetention: body.zdr === true || body.data_collection === 'deny',
    sort: body.sort === 'throughput' ? 'throughput' : null,
  }
}
