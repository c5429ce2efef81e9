/**
 * The names of service tiers in OpenAI's and Groq's words, and what of them stands in an answer. `auto` is served as
 * `default`, because no project settings exist that could say otherwise; the served tier never differs else.
 */

import type { ServiceTier } from '../../../deployment/generation.ts'

/** OpenAI: auto, default, flex, priority; Groq: auto, on_demand, flex, performance. */
const SERVED = {
  auto: 'default',
  default: 'default',
  on_demand: 'default',
  flex: 'flex',
  priority: 'priority',
  performance: 'priority',
} as const

export type ServiceTierName = keyof typeof SERVED

export const SERVICE_TIER_NAMES: readonly ServiceTierName[] = Object.keys(
  SERVED,
) as ServiceTierName[]

export function servedTier(asked: ServiceTierName): ServiceTier {
  return SERVED[asked]
}

/** Nothing when nothing was asked; else the tier that served, in OpenAI's field, and beside it the one asked for. */
export type TierAnswer =
  | { readonly service_tier: ServiceTier; readonly requested_service_tier: ServiceTierName }
  | Readonly<Record<string, never>>

export function tierAnswer(asked: ServiceTierName | null): TierAnswer {
  if (asked === null) return {}
  return { service_tier: servedTier(asked), requested_service_tier: asked }
}
