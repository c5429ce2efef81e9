/**
 * Which endpoints may serve a request, in which order, with which of their variants, and why: from the name it asks for,
 * what it demands, and what is there. Pure; owns nothing. Which variant loads is `choose-variant.ts`'s.
 *
 *   name ─▶ targets, by the aliases' policies ─▶ demands of the request ─▶ order ─▶ what is up ─▶ candidates
 *
 * I1 a candidate meets every demand of the request and of each alias on the way to it, and so does each of its variants.
 * I2 whatever is passed over before a candidate stands in its `fallbacks`, with the reason.
 * I3 a refusal names the demand that left nothing; a demand is never dropped.
 * I4 where the request forbids fallbacks there is no second candidate, but those that its `order` names.
 */

import type { ServingError } from '../../base/errors.ts'
import { deploymentError } from '../errors.ts'
import { formatsOf, type Target, targetsOf } from './alias-targets.ts'
import type { Quantization } from './endpoint-spec.ts'
import type { CatalogView, VariantFacts } from './facts.ts'
import { LOCAL_PROVIDER, type RoutingConstraints } from './routing.ts'

export interface Candidate {
  readonly endpoint: string
  /** Names of the variants that may serve, best first; at least one. */
  readonly variants: readonly string[]
  /** Why it stands at this place: words without a full stop. */
  readonly reason: string
  /** What was passed over before it, each with its reason. */
  readonly fallbacks: readonly string[]
}

/**
 * @returns at least one candidate, in the order in which they are to be tried
 * @throws ServingError DEPLOYMENT_UNKNOWN_MODEL, REQUEST_ROUTING_UNMET, DEPLOYMENT_NOT_READY, DEPLOYMENT_STOPPED
 *
 * Cost: O(targets × variants).
 */
export function resolveAlias(
  name: string,
  constraints: RoutingConstraints | null,
  view: CatalogView,
): readonly Candidate[] {
  const targets = targetsOf(name, view)
  if (targets.length === 0) throw unknownModel(name, view)
  const rejected: Target[] = []
  let left = targets
  for (const demand of [POLICY, ...demandsOf(constraints)]) {
    const judged = left.map((target) => demand.judge(target))
    const out = judged.filter((target) => target.rejected !== null)
    if (out.length === judged.length) throw unmet(name, demand.param, out)
    rejected.push(...out)
    left = judged.filter((target) => target.rejected === null)
  }
  const ranked = rank(name, left, constraints)
  const missing = (constraints?.order ?? []).filter((one) => !isPresent(one, view))
  return available(name, ranked, { rejected, missing })
}

/** `param` is its name in a refusal. */
interface Demand {
  readonly param: string
  judge(target: Target): Target
}

/** The targets come judged by their aliases. */
const POLICY: Demand = { param: 'model', judge: (target) => target }

function demandsOf(constraints: RoutingConstraints | null): readonly Demand[] {
  if (constraints === null) return []
  const { only, ignore, quantizations, requiresNoRetention } = constraints
  const demands: Demand[] = []
  if (only !== null) {
    const names = `provider.only names ${shownNames(only)}`
    demands.push(endpointDemand('provider.only', names, ({ facts }) => isNamed(only, facts.name)))
  }
  if (ignore.length > 0) {
    const isKept = ({ facts }: Target) => !isNamed(ignore, facts.name)
    demands.push(endpointDemand('provider.ignore', 'provider.ignore names it', isKept))
  }
  if (requiresNoRetention) {
    const reason = 'its retention is standard, and zdr or data_collection "deny" allow none'
    const isKept = ({ facts }: Target) => facts.retention === 'none'
    demands.push(endpointDemand('provider.zdr', reason, isKept))
  }
  if (quantizations !== null) {
    demands.push({
      param: 'provider.quantizations',
      judge: (target) => withFormats(target, quantizations),
    })
  }
  return demands
}

function endpointDemand(
  param: string,
  reason: string,
  isKept: (target: Target) => boolean,
): Demand {
  const judge = (target: Target): Target =>
    isKept(target) ? target : { ...target, variants: [], rejected: reason }
  return { param, judge }
}

function withFormats(target: Target, wanted: readonly Quantization[]): Target {
  const variants = target.variants.filter(({ quantization }) => wanted.includes(quantization))
  if (variants.length > 0) return { ...target, variants }
  const rejected = `it has ${formatsOf(target.variants)}, and ${wanted.join(' or ')} was asked for`
  return { ...target, variants, rejected }
}

interface Ranked {
  readonly target: Target
  readonly reason: string
}

/** What the request orders comes first, then the fastest or the alias's own order. */
function rank(
  name: string,
  targets: readonly Target[],
  constraints: RoutingConstraints | null,
): readonly Ranked[] {
  const { order = [], sort = null, allowFallbacks = true } = constraints ?? {}
  const first = order.flatMap((one) => targets.filter(({ facts }) => isNamed([one], facts.name)))
  const named = [...new Set(first)]
  const rest = targets.filter((target) => !named.includes(target))
  const others = sort === 'throughput' ? bySpeed(rest) : rest
  const ranked = [
    ...named.map((target) => ({ target, reason: 'named in provider.order' })),
    ...others.map((target) => ({ target, reason: placeReason(name, target, sort) })),
  ]
  if (allowFallbacks) return ranked
  if (order.length === 0) return ranked.slice(0, 1)
  if (named.length > 0) return ranked.slice(0, named.length)
  const reason = 'it names none of them, and provider.allow_fallbacks is false'
  throw unmet(
    name,
    'provider.order',
    rest.map((target) => ({ ...target, rejected: reason })),
  )
}

/** Unmeasured ones last, in their order. */
function bySpeed(targets: readonly Target[]): readonly Target[] {
  return [...targets].sort((one, other) => speedOf(other.variants) - speedOf(one.variants))
}

function speedOf(variants: readonly VariantFacts[]): number {
  return Math.max(...variants.map(({ tokensPerSecond }) => tokensPerSecond ?? 0))
}

function placeReason(
  name: string,
  { facts, variants, place }: Target,
  sort: string | null,
): string {
  const speed = speedOf(variants)
  if (sort === 'throughput' && speed > 0) return `${speed.toFixed(1)} tokens/s measured`
  return facts.name === name ? 'asked for by its name' : `number ${place + 1} of ${name}`
}

interface PassedOver {
  readonly rejected: readonly Target[]
  /** Names in `order` that nothing here has. */
  readonly missing: readonly string[]
}

/** @throws ServingError when nothing is up */
function available(
  name: string,
  ranked: readonly Ranked[],
  { rejected, missing }: PassedOver,
): readonly Candidate[] {
  const candidates: Candidate[] = []
  const down: Target[] = []
  for (const { target, reason } of ranked) {
    const { facts, place } = target
    if (facts.unavailable !== null) {
      down.push(target)
      continue
    }
    const before = rejected.filter((one) => one.place < place)
    const fallbacks = [
      ...(missing.length === 0 ? [] : [`${shownNames(missing)}: not served here`]),
      ...before.map((one) => `${one.facts.name}: ${one.rejected}`),
      ...down.map((one) => `${one.facts.name}: ${one.facts.unavailable?.reason}`),
    ]
    const variants = target.variants.map((variant) => variant.name)
    candidates.push({ endpoint: facts.name, variants, reason, fallbacks })
  }
  if (candidates.length === 0) throw noneUp(name, down)
  return candidates
}

function isNamed(names: readonly string[], endpoint: string): boolean {
  return names.includes(endpoint) || names.includes(LOCAL_PROVIDER)
}

function isPresent(name: string, view: CatalogView): boolean {
  return name === LOCAL_PROVIDER || view.endpoints.has(name)
}

const MAX_SHOWN = 5
const MAX_NAME_LENGTH = 64

/** A caller's names, bounded: they end in records and headers. */
function shownNames(names: readonly string[]): string {
  const shown = names.slice(0, MAX_SHOWN).map((name) => name.slice(0, MAX_NAME_LENGTH))
  const more = names.length > MAX_SHOWN ? ` and ${names.length - MAX_SHOWN} more` : ''
  return `${shown.join(', ')}${more}`
}

function unknownModel(model: string, view: CatalogView): ServingError {
  const names = [...view.aliases.keys(), ...view.endpoints.keys()]
  const served = shownNames(names) || 'nothing'
  return deploymentError('DEPLOYMENT_UNKNOWN_MODEL', { param: 'model', details: { model, served } })
}

function unmet(model: string, param: string, out: readonly Target[]): ServingError {
  const shown = out.slice(0, MAX_SHOWN).map(({ facts, rejected }) => `${facts.name}: ${rejected}`)
  const reason = shown.join('; ')
  return deploymentError('REQUEST_ROUTING_UNMET', { param, details: { model, param, reason } })
}

function noneUp(model: string, down: readonly Target[]): ServingError {
  const states = down.flatMap(({ facts }) => facts.unavailable ?? [])
  const names = down.map(({ facts }) => facts.name)
  const reason = states
    .map((state, at) => (names[at] === model ? state.reason : `${names[at]}: ${state.reason}`))
    .join('; ')
  const waits = states.flatMap(({ retryAfterSeconds }) => retryAfterSeconds ?? [])
  if (waits.length === 0) {
    return deploymentError('DEPLOYMENT_STOPPED', { details: { model, reason } })
  }
  const retryAfterSeconds = Math.min(...waits)
  const details = { model, reason, retryAfterSeconds }
  return deploymentError('DEPLOYMENT_NOT_READY', { retryAfterSeconds, details })
}
