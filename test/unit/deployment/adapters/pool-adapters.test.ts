/** Adapters of a pool's endpoints: names, slots, requests that use them, and replicas that come and go. */

import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { digestAdapter } from '../../../../src/checkpoint/adapter/adapter-digest.ts'
import {
  AdapterNames,
  ConfinedAdapters,
} from '../../../../src/deployment/adapters/adapter-admin.ts'
import { splitAdapterName } from '../../../../src/deployment/adapters/adapters.ts'
import { loadModules } from '../../../../src/deployment/adapters/start-modules.ts'
import { cacheDomain } from '../../../../src/deployment/cache-domain.ts'
import type { EndpointPool } from '../../../../src/deployment/endpoints/endpoint-pool.ts'
import { ask } from '../../../support/ask-pool.ts'
import { caught } from '../../../support/caught.ts'
import { settle } from '../../../support/deployment-stage.ts'
import { endpointSpec, variantSpec } from '../../../support/endpoint-builders.ts'
import { FakeMachine } from '../../../support/fake-machine.ts'
import { seededRandom } from '../../../support/seeded-random.ts'
import { tinyAdapter, writeAdapter } from '../../../support/tiny-adapter.ts'

let root: string
const folders: string[] = []
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'ingot-names-'))
  for (let seed = 0; seed < 4; seed++) {
    folders.push(await writeAdapter(join(root, `a${seed}`), tinyAdapter({ seed: seed + 1 })))
  }
})
afterAll(() => rm(root, { recursive: true }))

let machine: FakeMachine
beforeEach(() => {
  machine = new FakeMachine()
  for (const name of ['small', 'other'])
    machine.models.set(name, { weightsBytes: 100, kvBytes: 90 })
})

const serving = (name: string) =>
  endpointSpec({
    name,
    variants: [variantSpec({ name: 'only', source: name })],
    coldStartWaitMs: 60_000,
    inactiveTimeoutMs: null,
    isPinned: true,
  })

async function opened(...names: readonly string[]) {
  const pool = machine.pool(names.map(serving), {
    aliases: [
      {
        name: 'chat',
        targets: [...names],
        allowFallbacks: true,
        quantizations: null,
        revision: 'newest',
        region: null,
        retention: null,
      },
    ],
  })
  await machine.advance(3000)
  return { pool, admin: new AdapterNames(pool, pool.tools.adapters) }
}

function started(pool: EndpointPool, model: string) {
  const outcome = ask(pool, model, { maxTokens: 2 })
  return {
    outcome,
    event: () =>
      outcome.events.find(({ type }) => type === 'started') as never as {
        readonly modelId: string
        readonly systemFingerprint: string
        readonly adapter?: { readonly digest: string; readonly servingConfigDigest: string }
        readonly served?: { readonly servingConfigDigest: string }
      },
  }
}

it('splits a name at its last colon', () => {
  expect(['a:b', 'a:b:c', 'a', ':a', 'a:', ''].map(splitAdapterName)).toEqual([
    { base: 'a', adapter: 'b' },
    { base: 'a:b', adapter: 'c' },
    null,
    null,
    null,
    null,
  ])
})

describe('a loaded adapter', () => {
  it('is listed and found under the names of its base, with its parent and digests of its own', async () => {
    const { pool, admin } = await opened('small')
    const card = await admin.load('sql', folders[0]!)
    const digest = await digestAdapter(folders[0]!)
    expect(card).toMatchObject({
      id: 'small:sql',
      adapter: { name: 'sql', digest, parent: 'small' },
    })
    expect(pool.list().map(({ id, aliases }) => [id, aliases])).toEqual([
      ['small', ['chat']],
      ['small:sql', ['chat:sql']],
    ])
    const base = pool.find('small')!
    expect(pool.find('small:sql')).toEqual(pool.find('chat:sql'))
    expect(pool.find('small:sql')!.servingConfigDigest).not.toBe(base.servingConfigDigest)
    expect(pool.find('small:sql')!.servingConfigDigest).toMatch(/^sha256:[0-9a-f]{64}$/)
    expect(pool.find('nobody:sql')).toBeUndefined()
    expect(pool.decode('small:sql', [72, 105])).toBe('Hi')
  })

  it('answers requests with its slot, its fingerprint and a cache domain of its own', async () => {
    const { pool, admin } = await opened('small')
    await admin.load('one', folders[0]!)
    await admin.load('two', folders[1]!)
    const asked = ['small', 'small:one', 'small:two', 'chat:two'].map((model) =>
      started(pool, model),
    )
    await machine.advance(1000)
    expect(asked.map(({ outcome }) => outcome.end)).toEqual(['done', 'done', 'done', 'done'])
    expect(asked.map(({ event }) => event().modelId)).toEqual([
      'small',
      'small:one',
      'small:two',
      'small:two',
    ])
    const prints = asked.map(({ event }) => event().systemFingerprint)
    expect(new Set(prints).size).toBe(3)
    expect(prints[2]).toBe(prints[3])
    const two = asked[2]!.event()
    expect(two.adapter!.digest).toBe(await digestAdapter(folders[1]!))
    expect(two.served!.servingConfigDigest).toBe(two.adapter!.servingConfigDigest)
    expect(two.adapter!.servingConfigDigest).toBe(pool.find('small:two')!.servingConfigDigest)
  })

  it('is known by 404 with the next move when it is not there', async () => {
    const { pool, admin } = await opened('small')
    await admin.load('sql', folders[0]!)
    expect(() => pool.find('small:other')).toThrow(
      expect.objectContaining({ code: 'ADAPTER_UNKNOWN', status: 404, param: 'model' }),
    )
    expect(() => pool.find('small:other')).toThrow(/loaded: sql; .*load_lora_adapter/)
    const { outcome } = started(pool, 'small:other')
    await machine.advance(100)
    expect(outcome.end).toMatchObject({ code: 'ADAPTER_UNKNOWN' })
  })

  it('is only asked of endpoints that have it', async () => {
    const { pool, admin } = await opened('small', 'other')
    await admin.load('other:sql', folders[0]!)
    expect(pool.find('chat:sql')?.id).toBe('other:sql')
    const { outcome, event } = started(pool, 'chat:sql')
    await machine.advance(1000)
    expect([outcome.end, event().modelId]).toEqual(['done', 'other:sql'])
    expect(await caught(admin.load('sql', folders[1]!))).toMatchObject({
      code: 'ADAPTER_NO_BASE',
      details: { served: 'small, other', example: 'small:adapter' },
    })
  })
})

describe('loading', () => {
  it('refuses bad names, names that are taken, more than may be, and files that are not there', async () => {
    const { admin } = await opened('small')
    for (const name of ['', 'a b', '../x', 'ü', '-a', 'x'.repeat(101)]) {
      expect((await caught(admin.load(`small:${name}`, folders[0]!))).code).toMatch(
        /ADAPTER_BAD_NAME|ADAPTER_NO_BASE/,
      )
    }
    await admin.load('one', folders[0]!)
    expect(await caught(admin.load('one', folders[1]!))).toMatchObject({ code: 'ADAPTER_EXISTS' })
    expect(await caught(admin.load('two', join(root, 'nowhere')))).toMatchObject({
      code: 'CHECKPOINT_NOT_FOUND',
    })
    await admin.load('two', folders[1]!)
    await admin.load('three', folders[2]!)
    expect(await caught(admin.load('four', folders[3]!))).toMatchObject({
      code: 'ADAPTER_TOO_MANY',
      details: { base: 'small', maxLoras: 3 },
    })
    await admin.unload('two')
    await admin.load('four', folders[3]!)
    expect([...machine.replicas[0]!.held.keys()].sort()).toEqual([1, 2, 3])
  })

  it('leaves nothing of an adapter that a replica refuses', async () => {
    const { pool, admin } = await opened('small')
    const [replica] = machine.replicas
    replica!.adapterFault = new Error('it does not fit')
    await expect(admin.load('sql', folders[0]!)).rejects.toThrow('it does not fit')
    expect(pool.list().map(({ id }) => id)).toEqual(['small'])
    replica!.adapterFault = null
    await admin.load('sql', folders[0]!)
    expect([...replica!.held.keys()]).toEqual([1])
  })

  it('gives replicas that start later the same adapters in the same slots', async () => {
    const { pool, admin } = await opened('small')
    await admin.load('one', folders[0]!)
    await admin.load('two', folders[1]!)
    await admin.unload('one')
    machine.replicas[0]!.giveUp()
    await machine.advance(60_000)
    const { outcome } = started(pool, 'small:two')
    await machine.advance(5000)
    const [, later] = machine.replicas
    expect(later!.request.engine.adapters).toEqual([
      { slot: 2, folder: folders[1], digest: await digestAdapter(folders[1]!), maxRank: 16 },
    ])
    expect(outcome.end).toBe('done')
  })

  it('tells requests why an adapter could not be loaded again, and serves the base', async () => {
    const { pool, admin } = await opened('small')
    await admin.load('sql', folders[0]!)
    machine.replicas[0]!.request.onAdapterFailed?.(
      1,
      (await caught(admin.load('sql', ''))) as never,
    )
    const [sql, base] = [started(pool, 'small:sql'), started(pool, 'small')]
    await machine.advance(1000)
    expect(sql.outcome.end).toMatchObject({ code: 'ADAPTER_FAILED', status: 503 })
    expect(base.outcome.end).toBe('done')
  })

  it('at the start: to the one model by a bare name, or to an endpoint by its name', async () => {
    const { pool } = await opened('small', 'other')
    const { adapters } = pool.tools
    const modules = [{ name: 'other:sql', folder: folders[0]! }]
    await loadModules(adapters, { modules }, ['small', 'other'])
    expect(pool.find('other:sql')?.id).toBe('other:sql')
    const bare = { modules: [{ name: 'sql', folder: folders[0]! }] }
    expect(await caught(loadModules(adapters, bare, ['small', 'other']))).toMatchObject({
      code: 'ADAPTER_NO_BASE',
      param: '--lora-modules',
    })
    await loadModules(adapters, bare, ['small'])
    expect(pool.find('small:sql')?.id).toBe('small:sql')
  })
})

describe('unloading', () => {
  it('takes nothing new, waits for what runs, and then frees the slot', async () => {
    const { pool, admin } = await opened('small')
    await admin.load('sql', folders[0]!)
    const running = ask(pool, 'small:sql', { maxTokens: 20 })
    await machine.advance(50)
    let isUnloaded = false
    const unloaded = admin.unload('sql').then((id) => {
      isUnloaded = true
      return id
    })
    await settle()
    const late = started(pool, 'small:sql')
    await machine.advance(50)
    expect(late.outcome.end).toMatchObject({ code: 'ADAPTER_UNKNOWN' })
    expect([isUnloaded, running.end]).toEqual([false, null])
    expect([...machine.replicas[0]!.held.keys()]).toEqual([1])
    await machine.advance(1000)
    expect(running.end).toBe('done')
    expect(await unloaded).toBe('small:sql')
    expect([...machine.replicas[0]!.held.keys()]).toEqual([])
    expect(await caught(admin.unload('sql'))).toMatchObject({ code: 'ADAPTER_UNKNOWN' })
  })

  it('is not held up by a request whose reader left', async () => {
    const { pool, admin } = await opened('small')
    await admin.load('sql', folders[0]!)
    const running = ask(pool, 'small:sql', { maxTokens: 60 })
    await machine.advance(50)
    running.controller.abort(new Error('gone'))
    const unloaded = admin.unload('sql')
    await machine.advance(100)
    await unloaded
    expect(pool.list().map(({ id }) => id)).toEqual(['small'])
  })

  it('of one that is being loaded is refused', async () => {
    const { admin } = await opened('small')
    const loading = admin.load('sql', folders[0]!)
    expect(await caught(Promise.resolve().then(() => admin.unload('sql')))).toMatchObject({
      code: 'ADAPTER_IS_LOADING',
    })
    await loading
  })
})

it('a random walk of loads, unloads, crashes and requests ends every request, with its own slot', async () => {
  const random = seededRandom(5)
  const { pool, admin } = await opened('small')
  const names = ['a', 'b', 'c', 'd']
  const asked: ReturnType<typeof ask>[] = []
  const changes: Promise<unknown>[] = []
  for (let turn = 0; turn < 300; turn++) {
    const at = random.below(4)
    const action = random.below(20)
    if (action < 4) {
      changes.push(admin.load(names[at]!, folders[at]!).catch(() => {}))
      // Its files are read in real time, of which the machine's own clock knows nothing.
      await new Promise((resolve) => setTimeout(resolve, 10))
    } else if (action < 6) {
      changes.push(
        Promise.resolve()
          .then(() => admin.unload(names[at]!))
          .catch(() => {}),
      )
    } else if (action === 6) machine.alive('small')[0]?.crash()
    else asked.push(ask(pool, `small:${names[at]}`, { maxTokens: 1 + random.below(6) }))
    await machine.advance(random.below(3) * 20, 20)
  }
  await machine.advance(30_000)
  await Promise.all(changes)
  const ends = asked.map(({ end }) =>
    end instanceof Error ? (end as { code?: string }).code : end,
  )
  expect(ends).not.toContain(null)
  expect(new Set(ends)).toEqual(
    new Set([
      'done',
      'ADAPTER_UNKNOWN',
      ...ends.filter((end) => /^(WORKER|DEPLOYMENT)_/.test(end!)),
    ]),
  )
  expect(ends.filter((end) => end === 'done').length).toBeGreaterThan(20)
  for (const { end, events, model } of asked) {
    if (end !== 'done') continue
    const first = events.find(({ type }) => type === 'started') as never as {
      readonly adapter: { readonly digest: string }
    }
    const at = names.indexOf(model.split(':')[1]!)
    expect(first.adapter.digest).toBe(await digestAdapter(folders[at]!))
  }
  const held = machine.alive('small')[0]!.held
  expect(held.size).toBe(pool.list().length - 1)
})

describe('over HTTP', () => {
  it('is off unless a folder is named', async () => {
    const { admin } = await opened('small')
    const off = new ConfinedAdapters(admin, null)
    for (const refused of [off.load('sql', folders[0]!), off.unload('sql')]) {
      expect(await caught(refused)).toMatchObject({ code: 'ADAPTER_LOADING_OFF', status: 403 })
    }
  })

  it('reads folders within the named one only, whatever path or link is given', async () => {
    const { admin } = await opened('small')
    const allowed = join(root, 'allowed')
    await mkdir(allowed)
    await writeAdapter(join(allowed, 'fine'), tinyAdapter())
    await symlink(folders[0]!, join(allowed, 'link'))
    await writeFile(join(root, 'secret'), 'x')
    const confined = new ConfinedAdapters(admin, allowed)
    const outside = [
      '../a0',
      folders[0]!,
      'link',
      '.',
      '',
      '..',
      'fine/../../a0',
      'nowhere',
      '/etc',
    ]
    for (const path of outside) {
      expect(await caught(confined.load('sql', path)), path).toMatchObject({
        code: 'ADAPTER_OUTSIDE',
        status: 403,
      })
    }
    expect((await confined.load('sql', 'fine')).id).toBe('small:sql')
    expect((await confined.load('again', join(allowed, 'fine'))).id).toBe('small:again')
    expect(await confined.unload('sql')).toBe('small:sql')
  })
})

it('keeps the cache domain of a request without an adapter', () => {
  const caller = { principal: 'p', cacheSalt: 's' }
  const domains = [cacheDomain(caller), cacheDomain(caller, null), cacheDomain(caller, 'sha256:1')]
  expect(domains[0]).toEqual(domains[1])
  expect(domains[2]).not.toEqual(domains[0])
  expect(cacheDomain(caller, 'sha256:2')).not.toEqual(domains[2])
})
