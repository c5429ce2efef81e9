import { beforeEach, describe, expect, it } from 'vitest'
import { ServingError } from '../../../../src/base/errors.ts'
import type { EndpointPool } from '../../../../src/deployment/endpoints/endpoint-pool.ts'
import type {
  EndpointSpec,
  RolloutSpec,
} from '../../../../src/deployment/endpoints/endpoint-spec.ts'
import { ask, type Outcome } from '../../../support/ask-pool.ts'
import { request } from '../../../support/deployment-stage.ts'
import { endpointSpec, variantSpec } from '../../../support/endpoint-builders.ts'
import { FakeMachine } from '../../../support/fake-machine.ts'

const ROLLOUT: RolloutSpec = { percent: 25, observeMs: 30_000, maxErrorRate: 0.2, minRequests: 4 }

let machine: FakeMachine
let pool: EndpointPool
let takenBack: (readonly string[])[]

beforeEach(async () => {
  machine = new FakeMachine()
  for (const source of ['old', 'new']) {
    machine.models.set(source, { weightsBytes: 100, kvBytes: 90, tokenMs: 20 })
  }
  takenBack = []
  const onTakenBack = (...told: readonly string[]): void => void takenBack.push(told)
  pool = machine.pool([spec('old')], { options: { onTakenBack } })
  const first = ask(pool, 'chat', { maxTokens: 1 })
  await machine.advance(2000)
  expect(first.end).toBe('done')
})

function spec(source: string, change: Partial<EndpointSpec> = {}): EndpointSpec {
  return endpointSpec({
    name: 'chat',
    variants: [variantSpec({ name: 'only', source })],
    coldStartWaitMs: 60_000,
    inactiveTimeoutMs: null,
    maxNumSeqs: 64,
    rollout: ROLLOUT,
    ...change,
  })
}

function declare(after: EndpointSpec): void {
  pool.apply({ ...pool.catalog, endpoints: [after] })
}

function engine(source: string) {
  return machine.replicas.find(
    ({ isAlive, request }) => isAlive && request.engine.checkpointPath === source,
  )
}

/** Requests with ids of their own; which revision answered each is among its events. */
async function traffic(count: number, from = 0): Promise<readonly Outcome[]> {
  const asked: Outcome[] = []
  for (let index = 0; index < count; index += 1) {
    asked.push(ask(pool, 'chat', { id: `r${from + index}` as never, maxTokens: 5 }))
    await machine.advance(50)
  }
  await machine.advance(500)
  return asked
}

function revisionOf({ events }: Outcome): string {
  for (const event of events) {
    if (event.type === 'started') return event.served?.modelRevision ?? 'none'
  }
  return 'none'
}

describe('a new revision', () => {
  it('serves nobody before its first token, then its share, then everybody; no request is lost', async () => {
    declare(spec('new'))
    const during = await traffic(10)
    expect(during.map(revisionOf)).toEqual(Array(10).fill('sha256:old'))
    await machine.advance(1000)
    const shared = await traffic(100, 100)
    const numNew = shared.filter((one) => revisionOf(one) === 'sha256:new').length
    expect(numNew).toBeGreaterThan(12)
    expect(numNew).toBeLessThan(40)
    await machine.advance(30_000)
    const after = await traffic(10, 300)
    expect(after.map(revisionOf)).toEqual(Array(10).fill('sha256:new'))
    for (const { end } of [...during, ...shared, ...after]) expect(end).toBe('done')
    expect(engine('old')).toBeUndefined()
    expect(pool.budget.reservedBytes).toBe(200)
    expect(pool.rollouts.words('chat')).toBeNull()
  })

  it('gets the same requests each time, by the caller’s key where there is one', async () => {
    declare(spec('new'))
    await machine.advance(2000)
    const revisions = async (): Promise<string[]> => {
      const keys = Array.from({ length: 12 }, (_, at) => `key ${at}`)
      const asked = keys.map((cacheKey) => ask(pool, 'chat', { cacheKey, maxTokens: 1 }))
      await machine.advance(500)
      return asked.map(revisionOf)
    }
    const first = await revisions()
    expect(new Set(first).size).toBe(2)
    expect(await revisions()).toEqual(first)
  })

  it('is taken back when its engine ends under requests, and the old one serves on', async () => {
    declare(spec('new'))
    await machine.advance(2000)
    await traffic(8)
    engine('new')?.crash()
    await machine.advance(2000)
    expect(pool.rollouts.words('chat')).toMatch(
      /^the new revision was taken back: its engine ended/,
    )
    const after = await traffic(20, 100)
    expect(after.map(revisionOf)).toEqual(Array(20).fill('sha256:old'))
    expect(after.every(({ end }) => end === 'done')).toBe(true)
    await machine.advance(1000)
    expect(engine('new')).toBeUndefined()
    expect(pool.budget.reservedBytes).toBe(200)
  })

  it('is taken back when too many of its requests fail, and only for faults', async () => {
    declare(spec('new'))
    await machine.advance(2000)
    const { observe } = Array.from({ length: 100 }, (_, at) =>
      pool.rollouts.choose(
        pool.endpoints.get('chat') as never,
        request({ id: `r${at}` as never }),
        { endpoint: 'chat', variants: ['only'], reason: '', fallbacks: [] },
      ),
    ).find((chosen) => chosen.observe !== undefined) as { observe: (error: unknown) => void }
    const error = (status: number) =>
      new ServingError('X', { status, retryable: false, message: 'x' })
    for (const status of [400, 429, 404, 422]) observe(error(status))
    expect(pool.rollouts.words('chat')).toContain('0 of 4 failed')
    observe(null)
    observe(error(503))
    expect(pool.rollouts.words('chat')).toContain('1 of 6 failed')
    observe(error(500))
    expect(pool.rollouts.words('chat')).toContain('2 of 7 requests failed')
  })

  it('is taken back when it cannot be loaded', async () => {
    declare(spec('new'))
    await machine.advance(300)
    engine('new')?.giveUp()
    await machine.advance(1000)
    expect(pool.rollouts.words('chat')).toContain('its files are broken')
    expect(takenBack).toEqual([['chat', expect.stringContaining('its files are broken')]])
    const [after] = await traffic(1)
    expect(after?.end).toBe('done')
  })

  it('is stopped by another declaration, which is compared with what serves', async () => {
    declare(spec('new'))
    await machine.advance(2000)
    declare(spec('old', { region: 'home' }))
    await machine.advance(1000)
    expect(engine('new')).toBeUndefined()
    expect(machine.alive('chat')).toHaveLength(1)
    expect(pool.rollouts.words('chat')).toBeNull()
    const [after] = await traffic(1)
    expect(after?.end).toBe('done')
  })

  it('that does not fit beside the old one takes its place when that is idle; nobody is refused', async () => {
    machine.models.set('new', { weightsBytes: 700, kvBytes: 190 })
    pool.apply({ ...pool.catalog, endpoints: [spec('new')] }, new Map())
    const asked = ask(pool, 'chat', { maxTokens: 1 })
    await machine.advance(30_000)
    expect(asked.end).toBe('done')
  })

  it('leaves no process when the server ends in the middle of it', async () => {
    declare(spec('new'))
    await machine.advance(2000)
    const closed = pool.close(0)
    await machine.advance(500)
    await closed
    expect([machine.numAlive, pool.budget.reservedBytes]).toEqual([0, 0])
  })
})
