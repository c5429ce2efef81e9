import { describe, expect, it } from 'vitest'
import { ServingError } from '../../src/base/errors.ts'
import { chooseVariant } from '../../src/deployment/endpoints/choose-variant.ts'
import { QUANTIZATIONS } from '../../src/deployment/endpoints/endpoint-spec.ts'
import { type Candidate, resolveAlias } from '../../src/deployment/endpoints/resolve-alias.ts'
import {
  aliasSpec,
  catalogView,
  endpointFacts,
  routing,
  variantFacts,
} from '../support/endpoint-builders.ts'
import { type SeededRandom, seededRandom } from '../support/seeded-random.ts'

const NUM_SEEDS = 2000
const seeds = Array.from({ length: NUM_SEEDS }, (_, seed) => seed)
const TIERS = ['flex', 'default', 'priority'] as const

const pick = <T>(random: SeededRandom, from: readonly T[]): T =>
  from[random.below(from.length)] as T
const some = <T>(random: SeededRandom, from: readonly T[]): T[] =>
  from.filter(() => random.below(2) === 0)

function randomVariants(random: SeededRandom) {
  return Array.from({ length: 1 + random.below(4) }, (_, index) =>
    variantFacts({
      name: `v${index}`,
      quantization: pick(random, QUANTIZATIONS),
      isPinned: random.below(2) === 0,
      isLoaded: random.below(3) === 0,
      totalBytes: 100 * (1 + random.below(4)),
      qualityKl: random.below(3) === 0 ? null : random.below(4) / 1000,
      tokensPerSecond: random.below(3) === 0 ? null : 10 + random.below(4) * 10,
    }),
  )
}

describe('the variant that is chosen', () => {
  it('is allowed and fits; the choice repeats, and its reason names what decided', () => {
    for (const seed of seeds) {
      const random = seededRandom(seed)
      const variants = randomVariants(random)
      const needs = {
        allowed: some(random, variants).map(({ name }) => name),
        tier: pick(random, TIERS),
        freeBytes: random.below(500),
        reclaimableBytes: random.below(300),
        budgetBytes: 800,
      }
      const choice = chooseVariant(variants, needs)
      expect(chooseVariant(structuredClone(variants), needs), `seed ${seed}`).toEqual(choice)
      const room = needs.freeBytes + needs.reclaimableBytes
      const fitting = variants.filter(
        ({ name, isLoaded, totalBytes }) =>
          needs.allowed.includes(name) && (isLoaded || totalBytes <= room),
      )
      if (choice.kind === 'none') {
        expect(fitting, `seed ${seed}`).toEqual([])
        continue
      }
      const winner = fitting.find(({ name }) => name === choice.variant)
      expect(winner, `seed ${seed}`).toBeDefined()
      const must = winner?.isLoaded ? 0 : Math.max(0, (winner?.totalBytes ?? 0) - needs.freeBytes)
      expect(choice.mustFreeBytes, `seed ${seed}`).toBe(must)
      if (fitting.length > 1) expect(choice.reason).toMatch(decidingFact(choice.reason))
      // A loaded one serves unless somebody pays for quality.
      if (needs.tier !== 'priority' && fitting.some(({ isLoaded }) => isLoaded)) {
        expect(winner?.isLoaded, `seed ${seed}`).toBe(true)
      }
    }
  })

  it('stays, when nothing that decides tells two variants apart, the loaded one', () => {
    for (const seed of seeds.slice(0, 200)) {
      const random = seededRandom(seed)
      const twin = variantFacts({ qualityKl: 0.002, tokensPerSecond: 50, totalBytes: 100 })
      const at = random.below(3)
      const variants = [0, 1, 2].map((index) => ({
        ...twin,
        name: `v${index}`,
        isLoaded: index === at,
      }))
      const needs = { allowed: ['v0', 'v1', 'v2'], freeBytes: 1000, reclaimableBytes: 0 }
      const choice = chooseVariant(variants, {
        ...needs,
        tier: pick(random, TIERS),
        budgetBytes: 1000,
      })
      expect(choice).toMatchObject({ variant: `v${at}`, reason: 'already loaded' })
    }
  })
})

/** One of the facts; each reason begins with its own. */
function decidingFact(reason: string): RegExp {
  const facts = [
    /^already loaded$/,
    /^fits the .* that are free/,
    /^takes .*, less than/,
    /^best measured quality: KL/,
    /^declared before v\d, best first$/,
    /^declared first of equals$/,
    /^fastest measured:/,
  ]
  return facts.find((fact) => fact.test(reason)) ?? /^a reason that names a fact$/
}

describe('the candidates of a request', () => {
  const NAMES = ['a', 'b', 'c', 'd']

  function randomCase(random: SeededRandom) {
    const endpoints = NAMES.map((name) =>
      endpointFacts({
        name,
        region: pick(random, [null, 'eu', 'us']),
        retention: pick(random, ['none', 'standard']),
        variants: randomVariants(random),
        unavailable:
          random.below(4) === 0
            ? { reason: 'down', retryAfterSeconds: pick(random, [null, 3]) }
            : null,
      }),
    )
    const policy = (name: string, targets: readonly string[]) =>
      aliasSpec({
        name,
        targets,
        allowFallbacks: random.below(4) > 0,
        quantizations: random.below(3) > 0 ? null : some(random, QUANTIZATIONS),
        revision: random.below(4) > 0 ? 'newest' : 'pinned',
        region: random.below(4) > 0 ? null : 'eu',
        retention: random.below(4) > 0 ? null : 'none',
      })
    const inner = policy('inner', some(random, NAMES))
    const outer = policy('outer', ['inner', ...some(random, NAMES)])
    const constraints = routing({
      order: random.below(2) === 0 ? [] : some(random, [...NAMES, 'ingot', 'other']),
      only: random.below(3) > 0 ? null : some(random, NAMES),
      ignore: random.below(3) > 0 ? [] : some(random, NAMES),
      quantizations: random.below(3) > 0 ? null : some(random, QUANTIZATIONS),
      allowFallbacks: random.below(3) > 0,
      requiresNoRetention: random.below(3) === 0,
      sort: random.below(3) === 0 ? 'throughput' : null,
    })
    return { view: catalogView(endpoints, [inner, outer]), constraints, outer, inner }
  }

  it('meet every demand of the request and of the aliases, repeat, and explain what came before', () => {
    let numResolved = 0
    for (const seed of seeds) {
      const { view, constraints, outer, inner } = randomCase(seededRandom(seed))
      const run = (): readonly Candidate[] | string => {
        try {
          return resolveAlias('outer', constraints, view)
        } catch (error) {
          if (!(error instanceof ServingError)) throw error
          return error.message
        }
      }
      const candidates = run()
      expect(run(), `seed ${seed}`).toEqual(candidates)
      if (typeof candidates === 'string') continue
      numResolved += 1
      for (const { endpoint, variants, fallbacks } of candidates) {
        const facts = view.endpoints.get(endpoint)!
        expect(facts.unavailable, `seed ${seed}`).toBeNull()
        const { only, ignore, quantizations, requiresNoRetention } = constraints
        expect(only === null || only.includes(endpoint), `seed ${seed}`).toBe(true)
        expect(ignore.includes(endpoint), `seed ${seed}`).toBe(false)
        if (requiresNoRetention) expect(facts.retention, `seed ${seed}`).toBe('none')
        const isDirect = outer.allowFallbacks && outer.targets.includes(endpoint)
        const policies = isDirect ? [outer] : [outer, inner]
        for (const name of variants) {
          const variant = facts.variants.find((one) => one.name === name)!
          for (const wanted of [quantizations, ...policies.map((one) => one.quantizations)]) {
            const isMet = wanted === null || wanted.includes(variant.quantization)
            expect(isMet, `seed ${seed}`).toBe(true)
          }
          if (outer.revision === 'pinned') expect(variant.isPinned, `seed ${seed}`).toBe(true)
        }
        expect(variants.length, `seed ${seed}`).toBeGreaterThan(0)
        if (outer.region !== null) expect(facts.region, `seed ${seed}`).toBe('eu')
        if (outer.retention !== null) expect(facts.retention, `seed ${seed}`).toBe('none')
        for (const text of fallbacks) expect(text).toMatch(/^(?:[a-d]|other): .+/)
      }
      const isSingle = !constraints.allowFallbacks && constraints.order.length === 0
      if (isSingle) expect(candidates, `seed ${seed}`).toHaveLength(1)
      const endpoints = candidates.map(({ endpoint }) => endpoint)
      expect(new Set(endpoints).size, `seed ${seed}`).toBe(endpoints.length)
    }
    expect(numResolved).toBeGreaterThan(NUM_SEEDS / 10)
  })
})
