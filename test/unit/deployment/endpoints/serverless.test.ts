import { beforeEach, describe, expect, it } from 'vitest'
import { ServingError } from '../../../../src/base/errors.ts'
import type { EndpointPool } from '../../../../src/deployment/endpoints/endpoint-pool.ts'
import type { EndpointSpec } from '../../../../src/deployment/endpoints/endpoint-spec.ts'
import { ask } from '../../../support/ask-pool.ts'
import { settle } from '../../../support/deployment-stage.ts'
import { endpointSpec, variantSpec } from '../../../support/endpoint-builders.ts'
import { FakeMachine } from '../../../support/fake-machine.ts'

let machine: FakeMachine
beforeEach(() => {
  machine = new FakeMachine()
  for (const [name, weightsBytes] of [
    ['small', 100],
    ['middle', 300],
    ['large', 600],
    ['huge', 2000],
  ] as const) {
    machine.models.set(name, { weightsBytes, kvBytes: 90 })
  }
})

function serving(name: string, change: Partial<EndpointSpec> = {}): EndpointSpec {
  return endpointSpec({
    name,
    variants: [variantSpec({ name: 'only', source: name })],
    coldStartWaitMs: 60_000,
    inactiveTimeoutMs: null,
    ...change,
  })
}

function phases(pool: EndpointPool): Record<string, string> {
  const all = [...pool.endpoints.values()]
  return Object.fromEntries(
    all.map(({ name, variants }) => [name, [...variants.values()].map((one) => one.phase).join()]),
  )
}

describe('a cold model', () => {
  it('is loaded once for a hundred requests, which are all answered', async () => {
    const pool = machine.pool([serving('small', { maxNumSeqs: 200 })])
    const asked = Array.from({ length: 100 }, () => ask(pool, 'small'))
    await machine.advance(3000)
    expect(asked.map(({ end }) => end)).toEqual(asked.map(() => 'done'))
    expect(machine.replicas).toHaveLength(1)
    expect(machine.plans).toEqual(['small'])
  })

  it('announces a wait that is longer than a moment, and then answers', async () => {
    const pool = machine.pool([serving('small')])
    const { events } = ask(pool, 'small', { maxTokens: 1 })
    await machine.advance(200)
    expect(events).toEqual([])
    await machine.advance(200)
    expect(events).toEqual([{ type: 'waiting', reason: 'its model is being loaded' }])
    await machine.advance(1000)
    expect(events.map(({ type }) => type)).toEqual([
      'waiting',
      'started',
      'delta',
      'finished',
      'done',
    ])
  })

  it('tells who answered and why', async () => {
    const pool = machine.pool([serving('small', { region: 'home', retention: 'none' })])
    const { events } = ask(pool, 'small')
    await machine.advance(2000)
    expect(events.find(({ type }) => type === 'started')).toMatchObject({
      served: {
        endpoint: 'small',
        variant: 'only',
        reason: 'asked for by its name; the only variant',
        quantization: 'int4',
        modelRevision: 'sha256:small',
        region: 'home',
        retention: 'none',
        fallbacks: [],
      },
    })
  })

  it('refuses at once who does not want to wait, and is loaded for whoever comes next', async () => {
    const pool = machine.pool([serving('small')])
    await settle()
    const first = ask(pool, 'small', { coldStartWaitMs: 0 })
    await settle()
    expect(first.end).toMatchObject({
      code: 'DEPLOYMENT_NOT_READY',
      status: 503,
      retryAfterSeconds: 5,
    })
    await machine.advance(1500)
    const second = ask(pool, 'small', { coldStartWaitMs: 0, maxTokens: 1 })
    await machine.advance(100)
    expect(second.end).toBe('done')
  })

  it('tells when to come again from the loads that were measured', async () => {
    machine.models.set('small', { weightsBytes: 1, kvBytes: 1, loadMs: 8_200 })
    const pool = machine.pool([serving('small', { inactiveTimeoutMs: 1000 })])
    const first = ask(pool, 'small', { maxTokens: 1 })
    await machine.advance(10_000)
    expect(first.end).toBe('done')
    expect(phases(pool)).toEqual({ small: 'cold' })
    const second = ask(pool, 'small', { coldStartWaitMs: 0 })
    await settle()
    // 8.2 s of loading and a token for the probe.
    expect(second.end).toMatchObject({ status: 503, retryAfterSeconds: 9 })
    await machine.advance(4000)
    const third = ask(pool, 'small', { coldStartWaitMs: 0 })
    await settle()
    expect(third.end).toMatchObject({ status: 503, retryAfterSeconds: 5 })
  })

  it('refuses who has waited long enough', async () => {
    machine.models.set('small', { weightsBytes: 1, kvBytes: 1, loadMs: 8_000 })
    const pool = machine.pool([serving('small')])
    const asked = ask(pool, 'small', { coldStartWaitMs: 2000 })
    await machine.advance(1900)
    expect(asked.end).toBeNull()
    await machine.advance(200)
    expect(asked.end).toMatchObject({ code: 'DEPLOYMENT_NOT_READY', retryAfterSeconds: 3 })
  })

  it('lets go of who hangs up', async () => {
    const pool = machine.pool([serving('small')])
    const asked = ask(pool, 'small')
    await settle()
    asked.controller.abort(new Error('hung up'))
    await settle()
    expect(asked.end).toMatchObject({ message: 'hung up' })
    expect(pool.endpoints.get('small')?.status().numOpenRequests).toBe(0)
  })

  it('that fails to load refuses who waits with the reason, and is tried again after its back-off', async () => {
    const pool = machine.pool([serving('small')])
    const asked = ask(pool, 'small')
    await machine.advance(100)
    machine.replicas[0]?.giveUp(
      new ServingError('X', { status: 500, retryable: false, message: 'torn weights' }),
    )
    await machine.advance(100)
    expect(asked.end).toMatchObject({
      code: 'DEPLOYMENT_LOAD_FAILED',
      status: 503,
      retryAfterSeconds: 6,
    })
    expect((asked.end as Error).message).toContain('torn weights')
    expect(pool.budget.reservedBytes).toBe(0)
    const early = ask(pool, 'small')
    await machine.advance(100)
    expect(early.end).toMatchObject({ code: 'DEPLOYMENT_NOT_READY' })
    await machine.advance(1000)
    const late = ask(pool, 'small', { maxTokens: 1 })
    await machine.advance(2000)
    expect(late.end).toBe('done')
  })

  it('whose weights cannot be had refuses with the reason of the store', async () => {
    machine.planFaults.set(
      'small',
      new ServingError('STORE_IO', { status: 507, retryable: true, message: 'the disk is full' }),
    )
    const pool = machine.pool([serving('small'), serving('middle')])
    await settle()
    const status = pool.endpoints.get('small')?.status()
    expect(status).toMatchObject({ state: 'ERROR', reason: 'the disk is full' })
    const other = ask(pool, 'middle', { maxTokens: 1 })
    await machine.advance(1500)
    expect(other.end).toBe('done')
    machine.planFaults.clear()
    const asked = ask(pool, 'small', { maxTokens: 1 })
    await machine.advance(1500)
    expect(asked.end).toBe('done')
  })

  it('that can never fit is refused before it is loaded, with the arithmetic', async () => {
    const pool = machine.pool([serving('huge')])
    const asked = ask(pool, 'huge')
    await machine.advance(100)
    expect(asked.end).toMatchObject({ code: 'DEPLOYMENT_NEVER_FITS', retryable: false })
    expect((asked.end as Error).message).toContain(
      'weights 1.95 KiB + KV 90 B + process 10 B = 2.05 KiB, and the memory budget is 1000 B (as configured)',
    )
    expect(machine.replicas).toEqual([])
  })
})

describe('an idle model', () => {
  it('is down to no process after its time, and no earlier', async () => {
    const pool = machine.pool([serving('small', { inactiveTimeoutMs: 5000 })])
    ask(pool, 'small', { maxTokens: 1 })
    await machine.advance(2000)
    await machine.advance(3900)
    expect(machine.numAlive).toBe(1)
    await machine.advance(500)
    expect(machine.numAlive).toBe(0)
    expect(pool.budget.reservedBytes).toBe(0)
    expect(phases(pool)).toEqual({ small: 'cold' })
  })

  it('is not unloaded while a request is open, however long it takes', async () => {
    machine.models.set('small', { weightsBytes: 1, kvBytes: 1, tokenMs: 2000 })
    const pool = machine.pool([serving('small', { inactiveTimeoutMs: 1000 })])
    const asked = ask(pool, 'small', { maxTokens: 10 })
    await machine.advance(25_000)
    expect(asked.end).toBe('done')
    expect(machine.replicas).toHaveLength(1)
  })

  it('makes room: the one unused longest goes first, and only as many as are needed', async () => {
    const pool = machine.pool([serving('small'), serving('middle'), serving('large')])
    const first = ask(pool, 'small', { maxTokens: 1 })
    await machine.advance(2000)
    const second = ask(pool, 'middle', { maxTokens: 1 })
    await machine.advance(2000)
    const third = ask(pool, 'large', { maxTokens: 1 })
    await machine.advance(2000)
    expect([first, second, third].map(({ end }) => end)).toEqual(['done', 'done', 'done'])
    // 200 + 700 fit, 200 + 400 + 700 do not; without the small one 400 + 700 do not either.
    expect(phases(pool)).toEqual({ small: 'cold', middle: 'cold', large: 'ready' })
    const fourth = ask(pool, 'small', { maxTokens: 1 })
    await machine.advance(2000)
    expect(fourth.end).toBe('done')
    expect(phases(pool)).toEqual({ small: 'ready', middle: 'cold', large: 'ready' })
  })

  it('stays when it is pinned, and what does not fit beside it waits in vain', async () => {
    const pool = machine.pool([serving('middle', { isPinned: true }), serving('large')])
    await machine.advance(2000)
    expect(phases(pool)).toEqual({ middle: 'ready', large: 'cold' })
    const asked = ask(pool, 'large', { coldStartWaitMs: 20_000 })
    await machine.advance(21_000)
    expect(asked.end).toMatchObject({ code: 'DEPLOYMENT_NOT_READY' })
    expect(phases(pool).middle).toBe('ready')
  })
})

describe('models in use', () => {
  it('are never ended for another; after its patience the newcomer gets the next turn', async () => {
    machine.models.set('middle', { weightsBytes: 300, kvBytes: 90, tokenMs: 1000 })
    const pool = machine.pool([serving('middle'), serving('large')])
    const long = ask(pool, 'middle', { maxTokens: 12 })
    await machine.advance(2000)
    const waiting = ask(pool, 'large', { maxTokens: 1 })
    await machine.advance(3000)
    expect(phases(pool)).toEqual({ middle: 'ready', large: 'loading' })
    await machine.advance(3000)
    expect(phases(pool)).toEqual({ middle: 'draining', large: 'loading' })
    const late = ask(pool, 'middle', { maxTokens: 1 })
    await machine.advance(6000)
    expect([long.end, waiting.end, late.end]).toEqual(['done', null, null])
    await machine.advance(8000)
    expect([waiting.end, late.end]).toEqual(['done', 'done'])
  })

  it('stay after all when nobody waits for their memory any more', async () => {
    machine.models.set('middle', { weightsBytes: 300, kvBytes: 90, tokenMs: 1000 })
    const pool = machine.pool([serving('middle'), serving('large')])
    ask(pool, 'middle', { maxTokens: 40 })
    await machine.advance(2000)
    const waiting = ask(pool, 'large', { coldStartWaitMs: 8000 })
    await machine.advance(7000)
    expect(phases(pool)).toEqual({ middle: 'draining', large: 'loading' })
    waiting.controller.abort(new Error('hung up'))
    const late = ask(pool, 'middle', { maxTokens: 1 })
    await machine.advance(31_000)
    expect(phases(pool)).toEqual({ middle: 'ready', large: 'cold' })
    expect(late.end).toBe('done')
    expect(machine.replicas).toHaveLength(1)
  })
})

describe('where KV and weights compete', () => {
  it('idle models go first, then the KV of the newcomer gives way, down to one whole context', async () => {
    machine.models.set('large', { weightsBytes: 600, kvBytes: 390, minKvBytes: 90 })
    const pool = machine.pool([serving('small'), serving('large')])
    ask(pool, 'small', { maxTokens: 1 })
    await machine.advance(2000)
    ask(pool, 'large', { maxTokens: 1 })
    await machine.advance(2000)
    // The idle one went, and so the KV is whole.
    expect(phases(pool)).toEqual({ small: 'cold', large: 'ready' })
    expect(machine.replicas.at(-1)?.request.engine.kvMemoryBytes).toBe(390)
  })

  it('a model in use stays, and the newcomer has less KV', async () => {
    machine.models.set('small', { weightsBytes: 100, kvBytes: 90, tokenMs: 500 })
    machine.models.set('large', { weightsBytes: 600, kvBytes: 390, minKvBytes: 90 })
    const pool = machine.pool([serving('small'), serving('large')])
    ask(pool, 'small', { maxTokens: 20 })
    await machine.advance(2000)
    const asked = ask(pool, 'large', { maxTokens: 1 })
    await machine.advance(2000)
    expect(asked.end).toBe('done')
    expect(phases(pool)).toEqual({ small: 'ready', large: 'ready' })
    expect(machine.replicas.at(-1)?.request.engine.kvMemoryBytes).toBe(190)
    expect(pool.budget.freeBytes).toBe(0)
  })
})

describe('loads', () => {
  it('run at most so many at a time', async () => {
    const names = ['a', 'b', 'c', 'd']
    for (const name of names) machine.models.set(name, { weightsBytes: 10, kvBytes: 10 })
    const pool = machine.pool(
      names.map((name) => serving(name)),
      { maxConcurrentLoads: 2 },
    )
    const asked = names.map((name) => ask(pool, name, { maxTokens: 1 }))
    await machine.advance(500)
    expect(machine.numAlive).toBe(2)
    await machine.advance(1000)
    expect(machine.numAlive).toBe(4)
    await machine.advance(1000)
    expect(asked.every(({ end }) => end === 'done')).toBe(true)
  })
})
