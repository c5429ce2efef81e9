import { describe, expect, it } from 'vitest'
import type { AliasSpec } from '../../../../src/deployment/endpoints/endpoint-spec.ts'
import { resolveAlias } from '../../../../src/deployment/endpoints/resolve-alias.ts'
import type { RoutingConstraints } from '../../../../src/deployment/endpoints/routing.ts'
import {
  aliasSpec,
  catalogView,
  endpointFacts,
  routing,
  variantFacts,
} from '../../../support/endpoint-builders.ts'

const INT4 = variantFacts({ name: 'small', quantization: 'int4', tokensPerSecond: 90 })
const INT8 = variantFacts({ name: 'middle', quantization: 'int8', tokensPerSecond: 60 })
const BF16 = variantFacts({ name: 'large', quantization: 'bf16', isPinned: true })
const A = endpointFacts({ name: 'a', variants: [INT8, INT4], region: 'eu' })
const B = endpointFacts({ name: 'b', variants: [BF16], retention: 'none' })
const C = endpointFacts({ name: 'c', variants: [INT4] })
const DOWN = { reason: 'it is being drained', retryAfterSeconds: 9 }
const STOPPED = { reason: 'it was stopped by ada', retryAfterSeconds: null }

function resolve(
  constraints: Partial<RoutingConstraints> | null,
  alias: Partial<AliasSpec> = {},
  endpoints = [A, B, C],
) {
  const chat = aliasSpec({ targets: ['a', 'b', 'c'], ...alias })
  return resolveAlias(
    'chat',
    constraints === null ? null : routing(constraints),
    catalogView(endpoints, [chat]),
  )
}

const names = (...args: Parameters<typeof resolve>) => resolve(...args).map((one) => one.endpoint)

/** Code, the demand's name and the sentence about it. */
function refusal(act: () => unknown): object {
  try {
    act()
  } catch (error) {
    const { code, param, details } = error as { code: string; param: string; details: object }
    return { code, param, reason: (details as { reason?: string }).reason }
  }
  throw new Error('expected a refusal')
}

describe('a name', () => {
  it('of an endpoint is that endpoint, with all its variants', () => {
    expect(resolveAlias('a', null, catalogView([A]))).toEqual([
      {
        endpoint: 'a',
        variants: ['middle', 'small'],
        reason: 'asked for by its name',
        fallbacks: [],
      },
    ])
  })

  it('of an alias is its targets in order', () => {
    expect(resolve(null)).toEqual([
      { endpoint: 'a', variants: ['middle', 'small'], reason: 'number 1 of chat', fallbacks: [] },
      { endpoint: 'b', variants: ['large'], reason: 'number 2 of chat', fallbacks: [] },
      { endpoint: 'c', variants: ['small'], reason: 'number 3 of chat', fallbacks: [] },
    ])
  })

  it('of an alias without fallbacks is its first target alone', () => {
    expect(names(null, { allowFallbacks: false })).toEqual(['a'])
    expect(names({ order: ['b'] }, { allowFallbacks: false })).toEqual(['a'])
  })

  it('of an alias of aliases is their targets, each once, under all their policies', () => {
    const aliases = [
      aliasSpec({ name: 'chat', targets: ['exact', 'fast', 'c'], retention: null }),
      aliasSpec({ name: 'exact', targets: ['b', 'a'], quantizations: ['bf16', 'int8'] }),
      aliasSpec({ name: 'fast', targets: ['a', 'c'], quantizations: ['int4'] }),
    ]
    const candidates = resolveAlias('chat', null, catalogView([A, B, C], aliases))
    expect(candidates.map(({ endpoint, variants }) => [endpoint, variants])).toEqual([
      ['b', ['large']],
      ['a', ['middle']],
      ['c', ['small']],
    ])
  })

  it('that nothing has is refused, with names that there are', () => {
    const act = () => resolveAlias('nothing', null, catalogView([A, B], [aliasSpec()]))
    expect(act).toThrow(
      expect.objectContaining({
        code: 'DEPLOYMENT_UNKNOWN_MODEL',
        param: 'model',
        message: 'the model "nothing" is not served here; served: chat, a, b',
      }),
    )
  })

  it('of aliases in a circle ends, should such a catalog ever be', () => {
    const aliases = [
      aliasSpec({ name: 'x', targets: ['y'] }),
      aliasSpec({ name: 'y', targets: ['x'] }),
    ]
    expect(() => resolveAlias('x', null, catalogView([A], aliases))).toThrow(
      expect.objectContaining({ code: 'DEPLOYMENT_UNKNOWN_MODEL' }),
    )
  })
})

describe('the alias’s policy', () => {
  it('passes over what it does not allow, and says so', () => {
    expect(resolve(null, { retention: 'none' })).toEqual([
      {
        endpoint: 'b',
        variants: ['large'],
        reason: 'number 2 of chat',
        fallbacks: ['a: alias chat wants retention none, and its retention is standard'],
      },
    ])
    expect(names(null, { region: 'eu' })).toEqual(['a'])
    expect(names(null, { revision: 'pinned' })).toEqual(['b'])
    expect(resolve(null, { quantizations: ['int4'] }).map(({ variants }) => variants)).toEqual([
      ['small'],
      ['small'],
    ])
  })

  it.each([
    [{ region: 'us' }, 'a: alias chat wants region us, and its region is eu'],
    [{ quantizations: ['fp8' as const] }, 'a: alias chat wants fp8, and it has int8 and int4'],
    [
      { revision: 'pinned' as const },
      'a: alias chat wants pinned revisions, and no variant of it has a digest',
    ],
  ])('that nothing meets is refused by the model’s name: %j', (policy, reason) => {
    expect(refusal(() => resolve(null, policy, [A]))).toEqual({
      code: 'REQUEST_ROUTING_UNMET',
      param: 'model',
      reason,
    })
  })
})

describe('a request’s demands', () => {
  it('choose endpoints: only, ignore, no retention', () => {
    expect(names({ only: ['c', 'b'] })).toEqual(['b', 'c'])
    expect(names({ only: ['ingot'] })).toEqual(['a', 'b', 'c'])
    expect(names({ ignore: ['a'] })).toEqual(['b', 'c'])
    expect(names({ requiresNoRetention: true })).toEqual(['b'])
  })

  it('choose variants: quantizations, and what is left of the endpoint', () => {
    const candidates = resolve({ quantizations: ['int4', 'fp4'] })
    expect(candidates.map(({ endpoint, variants }) => [endpoint, variants])).toEqual([
      ['a', ['small']],
      ['c', ['small']],
    ])
  })

  it('add up with the alias’s policy', () => {
    expect(
      refusal(() => resolve({ quantizations: ['int4'] }, { quantizations: ['int8'] }, [A])),
    ).toEqual({
      code: 'REQUEST_ROUTING_UNMET',
      param: 'provider.quantizations',
      reason: 'a: it has int8, and int4 was asked for',
    })
  })

  it.each([
    [
      { only: ['anthropic'] },
      'provider.only',
      'a: provider.only names anthropic; b: provider.only names anthropic; c: provider.only names anthropic',
    ],
    [
      { ignore: ['ingot'] },
      'provider.ignore',
      'a: provider.ignore names it; b: provider.ignore names it; c: provider.ignore names it',
    ],
    [
      { only: ['a', 'c'], requiresNoRetention: true },
      'provider.zdr',
      'a: its retention is standard, and zdr or data_collection "deny" allow none; c: its retention is standard, and zdr or data_collection "deny" allow none',
    ],
    [
      { only: ['b'], quantizations: ['int8' as const] },
      'provider.quantizations',
      'b: it has bf16, and int8 was asked for',
    ],
    [
      { order: ['z'], allowFallbacks: false, only: ['a'] },
      'provider.order',
      'a: it names none of them, and provider.allow_fallbacks is false',
    ],
  ])('that leave nothing are refused by name: %j', (constraints, param, reason) => {
    expect(refusal(() => resolve(constraints))).toEqual({
      code: 'REQUEST_ROUTING_UNMET',
      param,
      reason,
    })
  })
})

describe('the order', () => {
  it('of the request comes first, then the alias’s', () => {
    expect(
      resolve({ order: ['c', 'a'] }).map(({ endpoint, reason }) => [endpoint, reason]),
    ).toEqual([
      ['c', 'named in provider.order'],
      ['a', 'named in provider.order'],
      ['b', 'number 2 of chat'],
    ])
    expect(names({ order: ['c', 'ingot'] })).toEqual(['c', 'a', 'b'])
  })

  it('tells names that nothing here has', () => {
    expect(resolve({ order: ['anthropic', 'b'] })[0]).toEqual({
      endpoint: 'b',
      variants: ['large'],
      reason: 'named in provider.order',
      fallbacks: ['anthropic: not served here'],
    })
  })

  it('is alone without fallbacks, and the first target where nothing is ordered', () => {
    expect(names({ order: ['c', 'a'], allowFallbacks: false })).toEqual(['c', 'a'])
    expect(names({ allowFallbacks: false })).toEqual(['a'])
    expect(names({ allowFallbacks: false, ignore: ['a'] })).toEqual(['b'])
  })

  it('by throughput is the fastest variant that may serve, unmeasured ones last', () => {
    expect(
      resolve({ sort: 'throughput', quantizations: ['int8', 'bf16', 'int4'] }).map(
        ({ endpoint, reason }) => [endpoint, reason],
      ),
    ).toEqual([
      ['a', '90.0 tokens/s measured'],
      ['c', '90.0 tokens/s measured'],
      ['b', 'number 2 of chat'],
    ])
    const slow = endpointFacts({ name: 'c', variants: [{ ...INT4, tokensPerSecond: 30 }] })
    expect(names({ sort: 'throughput', order: ['b'] }, {}, [slow, A, B])).toEqual(['b', 'a', 'c'])
  })
})

describe('what is down', () => {
  it('is passed over, with its reason', () => {
    const endpoints = [{ ...A, unavailable: DOWN }, B, { ...C, unavailable: STOPPED }]
    expect(resolve(null, {}, endpoints)).toEqual([
      {
        endpoint: 'b',
        variants: ['large'],
        reason: 'number 2 of chat',
        fallbacks: ['a: it is being drained'],
      },
    ])
  })

  it('is waited for when nothing else may serve: 503 with the shortest of the times', () => {
    const endpoints = [{ ...A, unavailable: DOWN }, B, C]
    expect(() => resolve({ allowFallbacks: false }, {}, endpoints)).toThrow(
      expect.objectContaining({
        code: 'DEPLOYMENT_NOT_READY',
        retryAfterSeconds: 9,
        message: '"chat" is not ready: a: it is being drained; try again in 9 s',
      }),
    )
  })

  it('says that somebody must act where waiting does not help', () => {
    expect(() => resolveAlias('c', null, catalogView([{ ...C, unavailable: STOPPED }]))).toThrow(
      expect.objectContaining({
        code: 'DEPLOYMENT_STOPPED',
        message:
          '"c" takes no requests: it was stopped by ada; start it with PATCH /v1/endpoints or ingot endpoints start',
      }),
    )
  })
})
