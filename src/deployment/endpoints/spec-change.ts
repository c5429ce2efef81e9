/**
 * What a change of an endpoint's declaration means for what is running. Pure.
 *
 *   same       nothing is touched
 *   policy     running replicas follow it: timeouts, pins, scaling, labels
 *   revision   an answer or an engine may differ: new replicas beside the old ones
 */

import { canonicalJson } from '../serving-config-digest.ts'
import type { EndpointCatalog, EndpointSpec } from './endpoint-spec.ts'

export type ChangeKind = 'same' | 'policy' | 'revision'

/** Everything that reaches an engine; what is not in here is policy. */
function revisionOf(spec: EndpointSpec): object {
  const { mode, kvMemoryBytes, maxContextTokens, maxNumSeqs, maxQueuedSequences } = spec
  const { threads, maxDraftTokens, prefixCache, cpuSets, retention } = spec
  // How well a variant does is what is known of it, not what it is.
  const variants = spec.variants.map(({ qualityKl, ...variant }) => variant)
  const sizes = { kvMemoryBytes, maxContextTokens, maxNumSeqs, maxQueuedSequences }
  const engine = { threads, maxDraftTokens, prefixCache, cpuSets }
  // What is kept of requests decides whether an engine has a disk cache.
  return { mode, variants, ...sizes, ...engine, retention }
}

export function changeKind(before: EndpointSpec, after: EndpointSpec): ChangeKind {
  if (canonicalJson(before) === canonicalJson(after)) return 'same'
  return canonicalJson(revisionOf(before)) === canonicalJson(revisionOf(after))
    ? 'policy'
    : 'revision'
}

export interface EndpointChange {
  readonly name: string
  /** `null` = it did not exist. */
  readonly before: EndpointSpec | null
  /** `null` = it is removed. */
  readonly after: EndpointSpec | null
}

/** What differs, removed ones first, so that their names are free. */
export function endpointChanges(
  before: readonly EndpointSpec[],
  after: readonly EndpointSpec[],
): readonly EndpointChange[] {
  const old = new Map(before.map((spec) => [spec.name, spec]))
  const wanted = new Map(after.map((spec) => [spec.name, spec]))
  const removed = before
    .filter(({ name }) => !wanted.has(name))
    .map((spec) => ({ name: spec.name, before: spec, after: null }))
  const kept = after
    .map((spec) => ({ name: spec.name, before: old.get(spec.name) ?? null, after: spec }))
    .filter(
      (change) => change.before === null || changeKind(change.before, change.after) !== 'same',
    )
  return [...removed, ...kept]
}

/** A catalog with one endpoint put in, replaced (`before` names it) or taken out. */
export function withEndpoint(
  catalog: EndpointCatalog,
  name: string,
  after: EndpointSpec | null,
): EndpointCatalog {
  const at = catalog.endpoints.findIndex((spec) => spec.name === name)
  const rest = catalog.endpoints.filter((spec) => spec.name !== name)
  const endpoints = after === null ? rest : rest.toSpliced(at < 0 ? rest.length : at, 0, after)
  return { ...catalog, endpoints }
}
