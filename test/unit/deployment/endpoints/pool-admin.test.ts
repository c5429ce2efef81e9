import { beforeEach, describe, expect, it } from 'vitest'
import { ServingError } from '../../../../src/base/errors.ts'
import { MemoryHistory } from '../../../../src/deployment/endpoints/catalog-history.ts'
import type { EndpointPool } from '../../../../src/deployment/endpoints/endpoint-pool.ts'
import type {
  EndpointCatalog,
  EndpointSpec,
} from '../../../../src/deployment/endpoints/endpoint-spec.ts'
import { PoolAdmin } from '../../../../src/deployment/endpoints/pool-admin.ts'
import { profileVariants } from '../../../../src/deployment/endpoints/variant-profiles.ts'
import { ask } from '../../../support/ask-pool.ts'
import { caught } from '../../../support/caught.ts'
import { settle } from '../../../support/deployment-stage.ts'
import { aliasSpec, endpointSpec, variantSpec } from '../../../support/endpoint-builders.ts'
import { FakeMachine } from '../../../support/fake-machine.ts'

let machine: FakeMachine
let pool: EndpointPool
let admin: PoolAdmin
let file: EndpointCatalog | Error

beforeEach(() => {
  machine = new FakeMachine()
  for (const [name, weightsBytes] of [
    ['small', 100],
    ['middle', 300],
    ['huge', 2000],
  ] as const) {
    machine.models.set(name, { weightsBytes, kvBytes: 90, tokenMs: 100 })
  }
  start([spec('small')])
})

function start(endpoints: readonly EndpointSpec[]): void {
  pool = machine.pool(endpoints)
  file = pool.catalog
  admin = new PoolAdmin({
    pool,
    history: new MemoryHistory(machine.timer),
    check: ({ endpoints: all }) => {
      if (all.some(({ name }) => name === 'bad')) {
        throw new ServingError('BAD', { status: 400, retryable: false, message: 'bad' })
      }
    },
    readCatalog: () => {
      if (file instanceof Error) throw file
      return file
    },
    profile: (_, source) => profileVariants(pool, source, (one) => spec(one, { name: one })),
  })
}

function spec(source: string, change: Partial<EndpointSpec> = {}): EndpointSpec {
  return endpointSpec({
    name: source,
    variants: [variantSpec({ name: 'only', source })],
    coldStartWaitMs: 60_000,
    inactiveTimeoutMs: null,
    ...change,
  })
}

async function names(): Promise<readonly string[]> {
  return (await admin.history()).map(({ what, name, after }) => `${what} ${name} ${after !== null}`)
}

describe('create', () => {
  it('is PENDING while its weights are fetched, and holds up no other', async () => {
    machine.isStored = false
    machine.planMs = 5000
    expect(await admin.create(spec('middle'), 'alice')).toMatchObject({ state: 'PENDING' })
    const other = ask(pool, 'small', { maxTokens: 1 })
    await machine.advance(4000)
    expect(other.end).toBe('done')
    expect(() => pool.find('middle')).toThrow(/not ready: its weights are looked up/)
    await machine.advance(2000)
    expect(admin.get('middle')).toMatchObject({ state: 'STARTED' })
    expect(pool.find('middle')?.id).toBe('middle')
  })

  it('serves the new endpoint and writes who did it', async () => {
    const created = await admin.create(spec('middle'), 'alice')
    expect(admin.get(created.id)).toMatchObject({ state: 'STARTED', reason: null, variant: null })
    const asked = ask(pool, 'middle', { maxTokens: 1 })
    await machine.advance(2000)
    expect(asked.end).toBe('done')
    expect(await admin.history('middle')).toMatchObject([
      { sequence: 1, who: 'alice', what: 'endpoint', name: 'middle', before: null },
    ])
  })

  it.each([
    ['a taken name', spec('small'), 'DEPLOYMENT_NAME_TAKEN', 409],
    ['what can never fit', spec('huge'), 'DEPLOYMENT_NEVER_FITS', 422],
    ['an unknown source', spec('unknown'), 'STORE_UNKNOWN_MODEL', 422],
    ['what contradicts itself', spec('middle', { name: 'bad' }), 'BAD', 400],
  ] as const)('refuses %s, and nothing has changed', async (_, refused, code, status) => {
    const before = pool.catalog
    expect(await caught(admin.create(refused, 'alice'))).toMatchObject({ code, status })
    expect(pool.catalog).toBe(before)
    expect(await admin.history()).toEqual([])
  })

  it('takes one change at a time', async () => {
    const both = await Promise.allSettled([
      admin.create(spec('middle'), 'alice'),
      admin.create(spec('middle'), 'bob'),
    ])
    expect(both.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
    expect((await admin.history()).map(({ who }) => who)).toEqual(['alice'])
  })
})

describe('update', () => {
  it('of a setting reaches what runs without touching it', async () => {
    ask(pool, 'small', { maxTokens: 1 })
    await machine.advance(2000)
    const { id } = admin.get('small')
    await admin.update('small', { inactiveTimeoutMs: 1000 }, 'alice')
    expect(machine.replicas).toHaveLength(1)
    await machine.advance(2000)
    expect(machine.numAlive).toBe(0)
    expect(admin.get('small').id).toBe(id)
  })

  it('to STOPPED refuses who waits and who comes, lets open requests end, and ends the process', async () => {
    const open = ask(pool, 'small', { maxTokens: 20 })
    await machine.advance(1300)
    const stopped = await admin.update('small', { state: 'STOPPED' }, 'alice')
    expect(stopped).toMatchObject({ state: 'STOPPING', reason: 'it was stopped' })
    const late = ask(pool, 'small')
    await settle()
    expect(late.end).toMatchObject({ code: 'DEPLOYMENT_STOPPED', retryable: false })
    await machine.advance(4000)
    expect(open.end).toBe('done')
    expect(admin.get('small').state).toBe('STOPPED')
    expect(machine.numAlive).toBe(0)
    await admin.update('small', { state: 'STARTED' }, 'alice')
    const again = ask(pool, 'small', { maxTokens: 1 })
    await machine.advance(2000)
    expect(again.end).toBe('done')
  })

  it('of what it serves keeps its id and loses no request', async () => {
    const open = ask(pool, 'small', { maxTokens: 30 })
    await machine.advance(1500)
    const { id } = admin.get('small')
    await admin.update(
      'small',
      { variants: [variantSpec({ name: 'only', source: 'middle' })] },
      'alice',
    )
    const next = ask(pool, 'small', { maxTokens: 1 })
    await machine.advance(5000)
    expect([open.end, next.end]).toEqual(['done', 'done'])
    expect(admin.get('small').id).toBe(id)
    expect(machine.alive('small')).toHaveLength(1)
  })
})

describe('remove', () => {
  it('lets open requests end, then no process is left and the name is free', async () => {
    const open = ask(pool, 'small', { maxTokens: 20 })
    await machine.advance(1300)
    await admin.remove('small', 'alice')
    expect(await caught(Promise.resolve().then(() => admin.get('small')))).toMatchObject({
      code: 'DEPLOYMENT_UNKNOWN_ENDPOINT',
      status: 404,
    })
    await machine.advance(4000)
    expect(open.end).toBe('done')
    expect(machine.numAlive).toBe(0)
    expect(await names()).toEqual(['endpoint small false'])
  })
})

describe('load and unload', () => {
  it('load resolves when it answers, unload when no process is left', async () => {
    const loading = admin.load('small')
    await machine.advance(2000)
    expect(await loading).toMatchObject({
      state: 'STARTED',
      variant: { name: 'only', reason: 'loaded by an administrator' },
      loadMs: 1100,
      reservedBytes: 200,
    })
    const unloading = admin.unload('small')
    await machine.advance(100)
    expect(await unloading).toMatchObject({ reservedBytes: 0, replicas: [] })
  })

  it('unload is refused while it is pinned', async () => {
    await admin.update('small', { isPinned: true }, 'alice')
    expect(await caught(admin.unload('small'))).toMatchObject({
      code: 'DEPLOYMENT_PINNED',
      status: 409,
    })
  })

  it('load names a variant that is there', async () => {
    expect(await caught(admin.load('small', 'int2'))).toMatchObject({
      code: 'DEPLOYMENT_BAD_ENDPOINT',
      param: 'variant',
    })
  })
})

describe('profiles', () => {
  it('say what each variant would take before it is loaded', async () => {
    expect(await admin.profiles('small')).toMatchObject([
      { variant: 'only', weightsBytes: 100, kvMemoryBytes: 90, totalBytes: 200, fitsNow: true },
    ])
  })

  it('of a model that no endpoint names are those of every format', async () => {
    const profiles = await admin.profiles('huge')
    expect(profiles.map(({ variant, fitsNow }) => [variant, fitsNow])).toEqual(
      ['source', 'f32', 'bf16', 'f16', 'int8', 'int4'].map((format) => [format, false]),
    )
  })

  it('of weights that are not stored are refused', async () => {
    machine.isStored = false
    expect(await caught(admin.profiles('middle'))).toMatchObject({ code: 'DEPLOYMENT_NOT_STORED' })
  })
})

describe('aliases', () => {
  it('are set and removed, each written down', async () => {
    await admin.setAlias('chat', aliasSpec({ name: 'chat', targets: ['small'] }), 'alice')
    const asked = ask(pool, 'chat', { maxTokens: 1 })
    await machine.advance(2000)
    expect(asked.end).toBe('done')
    expect(pool.find('chat')?.id).toBe('small')
    expect(pool.list().map(({ id, aliases }) => [id, aliases])).toEqual([['small', ['chat']]])
    await admin.setAlias('chat', null, 'alice')
    expect(pool.find('chat')).toBeUndefined()
    expect(await names()).toEqual(['alias chat true', 'alias chat false'])
  })

  it('cannot have the name of an endpoint', async () => {
    const alias = aliasSpec({ name: 'small' })
    expect(await caught(admin.setAlias('small', alias, 'alice'))).toMatchObject({ status: 409 })
  })
})

describe('reload', () => {
  it('leaves what is equal untouched, adds, changes and removes the rest in one step', async () => {
    ask(pool, 'small', { maxTokens: 1 })
    await machine.advance(2000)
    file = { ...pool.catalog, endpoints: [spec('small'), spec('middle')] }
    const { changes } = await admin.reload('SIGHUP')
    expect(changes.map(({ name, who }) => [name, who])).toEqual([['middle', 'SIGHUP']])
    expect([...pool.endpoints.keys()]).toEqual(['small', 'middle'])
    expect(machine.replicas).toHaveLength(1)
    file = { ...pool.catalog, endpoints: [spec('middle')] }
    await admin.reload('SIGHUP')
    await machine.advance(1000)
    expect([...pool.endpoints.keys()]).toEqual(['middle'])
    expect(machine.numAlive).toBe(0)
  })

  it.each([
    [
      'that cannot be read',
      () => new ServingError('CONFIG', { status: 400, retryable: false, message: 'line 3' }),
    ],
    [
      'with one endpoint that cannot be served',
      () => ({ ...pool.catalog, endpoints: [spec('middle'), spec('huge')] }),
    ],
  ] as const)('of a file %s changes nothing', async (_, made) => {
    file = made()
    const before = pool.catalog
    await caught(admin.reload('SIGHUP'))
    expect(pool.catalog).toBe(before)
    expect(await admin.history()).toEqual([])
    const asked = ask(pool, 'small', { maxTokens: 1 })
    await machine.advance(2000)
    expect(asked.end).toBe('done')
  })

  it('keeps what was created over the API, and refuses a file that names it too', async () => {
    await admin.create(spec('middle'), 'alice')
    await admin.reload('SIGHUP')
    expect([...pool.endpoints.keys()]).toEqual(['small', 'middle'])
    file = { ...pool.catalog, endpoints: [spec('small'), spec('middle')] }
    expect(await caught(admin.reload('SIGHUP'))).toMatchObject({ code: 'DEPLOYMENT_NAME_TAKEN' })
  })

  it('is refused where no file declares endpoints', async () => {
    const single = new PoolAdmin({
      pool,
      history: new MemoryHistory(machine.timer),
      check: () => {},
      readCatalog: null,
      profile: () => Promise.resolve([]),
    })
    expect(await caught(single.reload('SIGHUP'))).toMatchObject({
      code: 'DEPLOYMENT_NOTHING_TO_RELOAD',
    })
  })
})

describe('status', () => {
  it('tells the budget, what is reserved and every endpoint', async () => {
    ask(pool, 'small', { maxTokens: 1 })
    await machine.advance(500)
    expect(admin.status()).toMatchObject({
      budgetBytes: 1000,
      budgetReason: 'as configured',
      reservedBytes: 200,
      numLoading: 1,
      endpoints: [{ state: 'STARTED', numOpenRequests: 1, replicas: [{ state: 'starting' }] }],
    })
  })
})

describe('a start', () => {
  it('serves the file and what was created over the API, and writes down what the file has changed', async () => {
    start([])
    const before = { ...pool.catalog, endpoints: [spec('small'), spec('middle')] }
    const restored = {
      before,
      after: { ...before, endpoints: [spec('small', { isPinned: true }), spec('middle')] },
      created: new Map(),
    }
    await admin.begin(restored, { ...before, endpoints: [spec('small')] }, 'config file')
    expect([...pool.endpoints.keys()]).toEqual(['small', 'middle'])
    expect((await admin.history()).map(({ name, origin }) => [name, origin])).toEqual([
      ['small', 'file'],
    ])
    file = { ...before, endpoints: [] }
    await admin.reload('SIGHUP')
    expect([...pool.endpoints.keys()]).toEqual(['middle'])
  })

  it('brings back what was created over the API and cannot be served now, with its reason', async () => {
    start([])
    const before = { ...pool.catalog, endpoints: [spec('small'), spec('gone'), spec('huge')] }
    const restored = { before, after: before, created: new Map() }
    await admin.begin(restored, { ...before, endpoints: [spec('small')] }, 'config file')
    ask(pool, 'small', { maxTokens: 1 })
    await machine.advance(1000)
    expect(admin.get('small')).toMatchObject({ state: 'STARTED' })
    for (const name of ['gone', 'huge']) {
      const outcome = ask(pool, name, { maxTokens: 1 })
      await machine.advance(1000)
      expect(outcome.end).toBeInstanceOf(ServingError)
      expect(admin.get(name).reason).not.toBeNull()
    }
    const told = 'it cannot be loaded; /v1/status tells an administrator why'
    expect(pool.health()).toMatchObject({
      status: 'degraded',
      reasons: [`gone: ${told}`, `huge: ${told}`],
    })
  })

  it('is refused where the file declares what cannot be served', async () => {
    start([])
    const after = { ...pool.catalog, endpoints: [spec('huge')] }
    const restored = { before: pool.catalog, after, created: new Map() }
    const error = await caught(admin.begin(restored, after, 'config file'))
    expect(error.code).toBe('DEPLOYMENT_NEVER_FITS')
    expect(pool.endpoints.size).toBe(0)
  })
})
