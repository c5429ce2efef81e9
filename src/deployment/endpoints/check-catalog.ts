/**
 * What must be true of a catalog as a whole and of each declaration in it, whoever made it: ranges, unique names, aliases
 * that lead somewhere. Pure; says everything that is wrong. Does not know files or routes, nor what models need.
 *
 * Paths are written as in the configuration file: `endpoints.chat.variants[0].digest`.
 */

import { deploymentError } from '../errors.ts'
import {
  type CatalogProblem,
  NAME_EXPECTED,
  NAME_PATTERN,
  quote,
  Report,
} from './catalog-report.ts'
import { checkAliases } from './check-aliases.ts'
import type { EndpointCatalog, EndpointSpec, RolloutSpec, VariantSpec } from './endpoint-spec.ts'

const DIGEST_PATTERN = /^sha256:[0-9a-f]{64}$/
/** `0-3,8`: as taskset and cgroups write CPUs. */
const CPU_SET_PATTERN = /^\d{1,4}(?:-\d{1,4})?(?:,\d{1,4}(?:-\d{1,4})?)*$/
const HOUR_MS = 3_600_000
const MAX_REPLICAS = 64
const MAX_VARIANTS = 16
const MAX_ENDPOINTS = 1000
/** Far beyond what any request waits; a year is surely a slip. */
const MAX_TIMEOUT_MS = 30 * 24 * HOUR_MS

/** @returns nothing when all is well; in the order of the catalog */
export function checkCatalog(catalog: EndpointCatalog): readonly CatalogProblem[] {
  const report = new Report()
  const { memoryBudgetBytes, maxConcurrentLoads, endpoints } = catalog
  report.size('pool.memoryBudget', memoryBudgetBytes)
  report.range('pool.maxConcurrentLoads', maxConcurrentLoads, [1, 64])
  if (endpoints.length > MAX_ENDPOINTS) {
    report.add('endpoints', `at most ${MAX_ENDPOINTS} of them`, String(endpoints.length))
  }
  for (const endpoint of endpoints) checkEndpoint(endpoint, report)
  for (const [name, count] of counted(endpoints.map((one) => one.name))) {
    if (count > 1) report.add(`endpoints.${name}`, 'declared once', `${count} times`)
  }
  return [...report.problems, ...checkAliases(catalog)]
}

/**
 * For changes that do not come from a file.
 *
 * @param before - what is declared now: what is wrong there already is not the change's fault, such as the name of a model
 * that was named on the command line
 * @throws ServingError DEPLOYMENT_BAD_DECLARATION: the first problem
 */
export function assertCatalog(catalog: EndpointCatalog, before: EndpointCatalog | null): void {
  const known = new Set((before === null ? [] : checkCatalog(before)).map(({ path }) => path))
  const problem = checkCatalog(catalog).find(({ path }) => !known.has(path))
  if (problem === undefined) return
  const { path, ...details } = problem
  throw deploymentError('DEPLOYMENT_BAD_DECLARATION', {
    param: path,
    details: { path, ...details },
  })
}

function checkRollout(path: string, rollout: RolloutSpec | null, report: Report): void {
  if (rollout === null) return
  const { percent, observeMs, maxErrorRate, minRequests } = rollout
  report.range(`${path}.percent`, percent, [1, 100])
  report.time(`${path}.observe`, observeMs, [0, MAX_TIMEOUT_MS])
  report.range(`${path}.minRequests`, minRequests, [1, 1_000_000])
  if (maxErrorRate >= 0 && maxErrorRate <= 1) return
  report.add(`${path}.maxErrorRate`, 'a share from 0 to 1', String(maxErrorRate))
}

function checkEndpoint(endpoint: EndpointSpec, report: Report): void {
  const path = `endpoints.${endpoint.name}`
  if (!NAME_PATTERN.test(endpoint.name)) report.add(path, NAME_EXPECTED, quote(endpoint.name))
  report.size(`${path}.kvMemory`, endpoint.kvMemoryBytes)
  report.range(`${path}.maxContext`, endpoint.maxContextTokens, [16, 16_777_216])
  report.range(`${path}.maxSequences`, endpoint.maxNumSeqs, [1, 4096])
  report.range(`${path}.maxQueue`, endpoint.maxQueuedSequences, [0, 1_000_000])
  report.range(`${path}.threads`, endpoint.threads, [1, 1024])
  report.range(`${path}.draftTokens`, endpoint.maxDraftTokens, [0, 64])
  checkRollout(`${path}.rollout`, endpoint.rollout ?? null, report)
  report.time(`${path}.inactiveTimeout`, endpoint.inactiveTimeoutMs, [1000, MAX_TIMEOUT_MS])
  report.time(`${path}.coldStartWait`, endpoint.coldStartWaitMs, [0, HOUR_MS])
  for (const [at, cpus] of endpoint.cpuSets.entries()) {
    if (CPU_SET_PATTERN.test(cpus)) continue
    report.add(`${path}.cpuSets[${at}]`, 'CPUs such as "0-3,8"', quote(cpus))
  }
  const { displayName, region } = endpoint
  if ((displayName?.length ?? 1) > 200)
    report.add(`${path}.displayName`, 'at most 200 characters', 'more')
  report.label(`${path}.region`, region)
  checkMode(endpoint, path, report)
  checkVariants(endpoint.variants, path, report)
}

function checkMode(
  { mode, isPinned, autoscaling }: EndpointSpec,
  path: string,
  report: Report,
): void {
  const { minReplicas, maxReplicas, targetLoad } = autoscaling
  const { scaleUpWindowMs, scaleDownWindowMs } = autoscaling
  const replicas = `${path}.replicas`
  report.time(`${replicas}.scaleUpWindow`, scaleUpWindowMs, [0, HOUR_MS])
  report.time(`${replicas}.scaleDownWindow`, scaleDownWindowMs, [0, HOUR_MS])
  if (!(targetLoad > 0 && targetLoad <= 1)) {
    report.add(`${replicas}.targetLoad`, 'above 0 and at most 1', String(targetLoad))
  }
  if (mode === 'serverless') {
    if (maxReplicas !== 1) {
      const expected =
        '1, because a serverless endpoint has one replica or none; mode: dedicated has more'
      report.add(`${replicas}.max`, expected, String(maxReplicas))
    }
    if (minReplicas !== 0) {
      const expected =
        '0, because a serverless endpoint comes and goes with use; pinned: true keeps it'
      report.add(`${replicas}.min`, expected, String(minReplicas))
    }
    return
  }
  if (isPinned) {
    const expected = 'false, because a dedicated endpoint is never unloaded to make room'
    report.add(`${path}.pinned`, expected, 'true')
  }
  report.range(`${replicas}.max`, maxReplicas, [1, MAX_REPLICAS])
  report.range(`${replicas}.min`, minReplicas, [0, MAX_REPLICAS])
  if (minReplicas > maxReplicas) {
    report.add(`${replicas}.min`, `at most max, which is ${maxReplicas}`, String(minReplicas))
  }
}

function checkVariants(variants: readonly VariantSpec[], path: string, report: Report): void {
  if (variants.length < 1 || variants.length > MAX_VARIANTS) {
    report.add(`${path}.variants`, `1 to ${MAX_VARIANTS} variants`, String(variants.length))
  }
  const seen = new Map<string, number>()
  for (const [at, variant] of variants.entries()) {
    const { name, source, digest, qualityKl } = variant
    const place = `${path}.variants[${at}]`
    const first = seen.get(name)
    if (first !== undefined) {
      const expected = `another name than that of variants[${first}]`
      report.add(`${place}.name`, expected, quote(name))
    }
    seen.set(name, first ?? at)
    if (!NAME_PATTERN.test(name)) report.add(`${place}.name`, NAME_EXPECTED, quote(name))
    if (source === '') report.add(`${place}.source`, 'a catalog name, a path or a source', '""')
    if (digest !== null && !DIGEST_PATTERN.test(digest)) {
      report.add(`${place}.digest`, '"sha256:" and 64 hex digits', quote(digest))
    }
    if (qualityKl !== null && !(qualityKl >= 0)) {
      report.add(`${place}.qualityKl`, 'nats, 0 or more', String(qualityKl))
    }
  }
}

function counted(names: readonly string[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1)
  return counts
}
