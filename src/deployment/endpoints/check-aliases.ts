/**
 * What must be true of aliases: names of their own, targets that there are, no circles, and a policy that some target
 * can meet. Pure. What only a loaded model tells (its format) is found when a request comes.
 */

import {
  type CatalogProblem,
  NAME_EXPECTED,
  NAME_PATTERN,
  quote,
  Report,
} from './catalog-report.ts'
import type { AliasSpec, EndpointCatalog, EndpointSpec } from './endpoint-spec.ts'

const MAX_ALIASES = 1000
const MAX_TARGETS = 64
const MAX_WAYS = 256

export function checkAliases({ endpoints, aliases }: EndpointCatalog): readonly CatalogProblem[] {
  const report = new Report()
  const names: Names = {
    endpoints: new Map(endpoints.map((one) => [one.name, one])),
    aliases: new Map(aliases.map((one) => [one.name, one])),
  }
  if (aliases.length > MAX_ALIASES) {
    report.add('aliases', `at most ${MAX_ALIASES} of them`, String(aliases.length))
  }
  const ways = countWays(names)
  for (const alias of aliases) {
    const path = `aliases.${alias.name}`
    if (!NAME_PATTERN.test(alias.name)) report.add(path, NAME_EXPECTED, quote(alias.name))
    if (names.endpoints.has(alias.name)) {
      report.add(path, 'a name that no endpoint has', `${quote(alias.name)}, which is an endpoint`)
    }
    if (names.aliases.get(alias.name) !== alias) report.add(path, 'declared once', 'twice')
    report.label(`${path}.region`, alias.region)
    if (alias.quantizations?.length === 0) {
      report.add(`${path}.quantizations`, 'at least one format, or left out for all', 'none')
    }
    checkTargets(alias, names, ways, report)
  }
  return report.problems
}

interface Names {
  readonly endpoints: ReadonlyMap<string, EndpointSpec>
  readonly aliases: ReadonlyMap<string, AliasSpec>
}

function checkTargets(alias: AliasSpec, names: Names, ways: Ways, report: Report): void {
  const path = `aliases.${alias.name}.targets`
  const { targets } = alias
  if (targets.length < 1 || targets.length > MAX_TARGETS) {
    report.add(path, `1 to ${MAX_TARGETS} names`, String(targets.length))
  }
  let isWhole = targets.length > 0
  for (const [at, target] of targets.entries()) {
    const place = `${path}[${at}]`
    if (targets.indexOf(target) !== at) report.add(place, 'named once', quote(target))
    if (names.endpoints.has(target) || names.aliases.has(target)) continue
    isWhole = false
    const known = [...names.endpoints.keys(), ...names.aliases.keys()]
    report.add(place, 'the name of an endpoint or of another alias', quote(target), known)
  }
  const numWays = ways.get(alias.name) ?? null
  if (numWays === null) checkCircle(alias, names, report)
  else if (numWays > MAX_WAYS) {
    report.add(path, `at most ${MAX_WAYS} ways to endpoints`, String(numWays))
  } else if (isWhole) checkPolicy(alias, names, report)
}

/** Ways from an alias to endpoints, each walked when a request comes; `null` when a circle is on them. */
type Ways = Map<string, number | null>

function countWays(names: Names): Ways {
  const ways: Ways = new Map()
  const open = new Set<string>()
  const count = (name: string): number | null => {
    const known = ways.get(name)
    if (known !== undefined) return known
    if (open.has(name)) return null
    const alias = names.aliases.get(name)
    if (alias === undefined) return 1
    open.add(name)
    let sum: number | null = 0
    for (const target of alias.targets) {
      const next = count(target)
      sum = sum === null || next === null ? null : sum + next
    }
    open.delete(name)
    ways.set(name, sum)
    return sum
  }
  for (const name of names.aliases.keys()) count(name)
  return ways
}

/** One that leads to a circle without being part of it is well once the circle is. */
function checkCircle(alias: AliasSpec, names: Names, report: Report): void {
  const seen = new Set<string>()
  for (const [at, target] of alias.targets.entries()) {
    const circle = wayBack(alias.name, target, names, seen)
    if (circle === null) continue
    const expected = `a name that does not lead back to ${alias.name}`
    report.add(`aliases.${alias.name}.targets[${at}]`, expected, circle.map(quote).join(' → '))
    return
  }
}

/**
 * The names from a target to the alias again, both included; `null` when it does not lead there.
 *
 * @param seen - names that were tried
 */
function wayBack(
  alias: string,
  target: string,
  names: Names,
  seen: Set<string>,
): readonly string[] | null {
  if (target === alias) return [target]
  if (seen.has(target) || names.endpoints.has(target)) return null
  seen.add(target)
  for (const next of names.aliases.get(target)?.targets ?? []) {
    const found = wayBack(alias, next, names, seen)
    if (found !== null) return [target, ...found]
  }
  return null
}

/** A policy that no target meets would refuse every request. */
function checkPolicy(alias: AliasSpec, names: Names, report: Report): void {
  const path = `aliases.${alias.name}`
  const { region, retention, revision } = alias
  const endpoints = reached(alias, names, new Set())
  const regions = [...new Set(endpoints.map((one) => one.region ?? 'none'))].join(', ')
  if (region !== null && !endpoints.some((one) => one.region === region)) {
    report.add(
      `${path}.region`,
      'the region of one of its targets',
      `${region}, and theirs is ${regions}`,
    )
  }
  if (retention !== null && !endpoints.some((one) => one.retention === retention)) {
    report.add(`${path}.retention`, 'the retention of one of its targets', quote(retention))
  }
  const isPinned = endpoints.some(({ variants }) => variants.some(({ digest }) => digest !== null))
  if (revision === 'pinned' && !isPinned) {
    const expected = '"newest", or one of its targets a variant with a digest'
    report.add(`${path}.revision`, expected, '"pinned"')
  }
}

function reached(alias: AliasSpec, names: Names, seen: Set<string>): readonly EndpointSpec[] {
  return alias.targets.flatMap((target) => {
    if (seen.has(target)) return []
    seen.add(target)
    const endpoint = names.endpoints.get(target)
    if (endpoint !== undefined) return [endpoint]
    const next = names.aliases.get(target)
    return next === undefined ? [] : reached(next, names, seen)
  })
}
