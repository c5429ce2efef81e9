import { describe, expect, it } from 'vitest'
import type {
  AliasSpec,
  EndpointCatalog,
  EndpointSpec,
} from '../../../../src/deployment/endpoints/endpoint-spec.ts'
import type { CatalogChange } from '../../../../src/deployment/endpoints/endpoints-admin.ts'
import { restoreCatalog } from '../../../../src/deployment/endpoints/restore-catalog.ts'
import { aliasSpec, endpointSpec } from '../../../support/endpoint-builders.ts'

const file = (
  endpoints: readonly EndpointSpec[],
  aliases: readonly AliasSpec[] = [],
): EndpointCatalog => ({ memoryBudgetBytes: 7, maxConcurrentLoads: 2, endpoints, aliases })

type Step = readonly [
  origin: CatalogChange['origin'],
  name: string,
  after: EndpointSpec | AliasSpec | null,
]

/** Records as the pool writes them: `before` is what the name was. */
function history(...steps: readonly Step[]): CatalogChange[] {
  const now = new Map<string, EndpointSpec | AliasSpec>()
  return steps.map(([origin, name, after], at) => {
    const before = now.get(name) ?? null
    if (after === null) now.delete(name)
    else now.set(name, after)
    const what = 'targets' in (after ?? before ?? {}) ? 'alias' : 'endpoint'
    const time = `2026-01-0${at + 1}T00:00:00.000Z`
    return { sequence: at + 1, time, who: 'ada', what, name, origin, before, after }
  })
}

const A = endpointSpec({ name: 'a' })
const B = endpointSpec({ name: 'b' })
const CHAT = aliasSpec({ targets: ['a', 'b'] })

describe('at a start', () => {
  it('the file is declared, where nothing was ever changed', () => {
    expect(restoreCatalog(file([A], [CHAT]), [])).toEqual({
      before: file([]),
      after: file([A], [CHAT]),
      created: new Map(),
    })
  })

  it('what was created over the API comes back, as it was last', () => {
    const changed = { ...B, isPinned: true }
    const records = history(['api', 'b', B], ['api', 'chat', CHAT], ['api', 'b', changed])
    const { before, after, created } = restoreCatalog(file([A]), records)
    expect(after).toEqual(file([A, changed], [CHAT]))
    expect(before).toEqual(file([changed], [CHAT]))
    expect([...created].map(([name, { sequence }]) => [name, sequence])).toEqual([
      ['b', 1],
      ['chat', 2],
    ])
  })

  it('what was removed does not, and may be created again', () => {
    const records = history(['api', 'b', B], ['api', 'b', null])
    expect(restoreCatalog(file([A]), records).after).toEqual(file([A]))
    const again = [...records, ...history(['api', 'b', { ...B, threads: 1 }])]
    expect(restoreCatalog(file([A]), again).after).toEqual(file([A, { ...B, threads: 1 }]))
  })

  it('what the file has dropped does not come back, and its end is in the difference', () => {
    const { before, after } = restoreCatalog(file([A]), history(['file', 'a', A], ['file', 'b', B]))
    expect(before.endpoints).toEqual([A, B])
    expect(after.endpoints).toEqual([A])
  })

  it('a change over the API of what the file declares has lasted until now', () => {
    const records = history(['file', 'a', A], ['file', 'a', { ...A, state: 'STOPPED' }])
    const { before, after } = restoreCatalog(file([A]), records)
    expect(before.endpoints).toEqual([{ ...A, state: 'STOPPED' }])
    expect(after.endpoints).toEqual([A])
  })

  it('a file that takes the name of what was created over the API is refused, naming who and when', () => {
    expect(() => restoreCatalog(file([A, B]), history(['api', 'b', B]))).toThrow(
      expect.objectContaining({
        code: 'DEPLOYMENT_NAME_CREATED',
        message:
          'expected the configuration file to declare no "b", which ada created over the API at 2026-01-01T00:00:00.000Z; call it otherwise in the file, or delete the other first',
      }),
    )
    expect(() =>
      restoreCatalog(file([A], [aliasSpec({ name: 'b' })]), history(['api', 'b', B])),
    ).toThrow('created over the API')
  })

  it('fields that a record of an older version lacks are automatic', () => {
    const { maxDraftTokens: _, displayName: __, prefixCache: ___, ...old } = B
    const records = history(['api', 'b', old as EndpointSpec])
    expect(restoreCatalog(file([]), records).after.endpoints).toEqual([B])
  })
})
