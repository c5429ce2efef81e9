/**
 * What a name stands for: an endpoint itself, or an alias's endpoints in order, each judged by the policy of every alias
 * on the way to it. Pure. Does not know requests' constraints.
 *
 * I1 an alias that forbids fallbacks stands for its first target alone.
 * I2 an endpoint is there once, at the first mention whose policies it meets.
 */

import type { AliasSpec } from './endpoint-spec.ts'
import type { CatalogView, EndpointFacts, VariantFacts } from './facts.ts'

export interface Target {
  readonly facts: EndpointFacts
  /** Those that may serve, best first. */
  readonly variants: readonly VariantFacts[]
  /** Place in the order of the name that was asked for, from 0. */
  readonly place: number
  /** Why no variant of it may serve; `null` while some may. */
  readonly rejected: string | null
}

/** @returns nothing for an unknown name, and for an alias whose targets are all gone */
export function targetsOf(name: string, view: CatalogView): readonly Target[] {
  return follow(name, view, []).map((target, place) => ({ ...target, place }))
}

function follow(name: string, view: CatalogView, path: readonly string[]): readonly Target[] {
  const facts = view.endpoints.get(name)
  if (facts !== undefined) return [{ facts, variants: facts.variants, place: 0, rejected: null }]
  const alias = view.aliases.get(name)
  // A catalog has no cycles; that this ends does not depend on it.
  if (alias === undefined || path.includes(name)) return []
  const names = alias.allowFallbacks ? alias.targets : alias.targets.slice(0, 1)
  const found = new Map<string, Target>()
  for (const target of names.flatMap((one) => follow(one, view, [...path, name]))) {
    const { name: endpoint } = target.facts
    if ((found.get(endpoint)?.rejected ?? null) !== null) found.delete(endpoint)
    if (!found.has(endpoint)) found.set(endpoint, judge(alias, target))
  }
  return [...found.values()]
}

function judge(alias: AliasSpec, target: Target): Target {
  if (target.rejected !== null) return target
  const { name, region, retention, quantizations, revision } = alias
  const { facts } = target
  const reject = (reason: string): Target => ({ ...target, variants: [], rejected: reason })
  if (region !== null && facts.region !== region) {
    return reject(`alias ${name} wants region ${region}, and its region is ${facts.region}`)
  }
  if (retention !== null && facts.retention !== retention) {
    return reject(
      `alias ${name} wants retention ${retention}, and its retention is ${facts.retention}`,
    )
  }
  const pinned = target.variants.filter(({ isPinned }) => isPinned || revision === 'newest')
  if (pinned.length === 0) {
    return reject(`alias ${name} wants pinned revisions, and no variant of it has a digest`)
  }
  const variants = pinned.filter(
    ({ quantization }) => quantizations === null || quantizations.includes(quantization),
  )
  if (variants.length > 0) return { ...target, variants }
  return reject(
    `alias ${name} wants ${quantizations?.join(' or ')}, and it has ${formatsOf(pinned)}`,
  )
}

export function formatsOf(variants: readonly VariantFacts[]): string {
  return [...new Set(variants.map(({ quantization }) => quantization))].join(' and ')
}
