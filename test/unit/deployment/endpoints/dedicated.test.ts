import { beforeEach, describe, expect, it } from 'vitest'
import { affinityLauncher, cpusOf } from '../../../../src/deployment/endpoints/cpu-affinity.ts'
import type { EndpointSpec } from '../../../../src/deployment/endpoints/endpoint-spec.ts'
import { ask } from '../../../support/ask-pool.ts'
import { caught } from '../../../support/caught.ts'
import { endpointSpec, variantSpec } from '../../../support/endpoint-builders.ts'
import { FakeMachine, type FakeReplica } from '../../../support/fake-machine.ts'

let machine: FakeMachine
beforeEach(() => {
  machine = new FakeMachine()
  machine.models.set('small', { weightsBytes: 100, kvBytes: 90, tokenMs: 100 })
  machine.models.set('other', { weightsBytes: 100, kvBytes: 90, tokenMs: 100 })
})

function dedicated(change: Partial<EndpointSpec> = {}): EndpointSpec {
  return endpointSpec({
    name: 'small',
    mode: 'dedicated',
    variants: [variantSpec({ name: 'only', source: 'small' })],
    coldStartWaitMs: 60_000,
    inactiveTimeoutMs: null,
    maxNumSeqs: 4,
    maxQueuedSequences: 100,
    autoscaling: {
      minReplicas: 1,
      maxReplicas: 3,
      targetLoad: 0.5,
      scaleUpWindowMs: 3000,
      scaleDownWindowMs: 10_000,
    },
    ...change,
  })
}

function alive(): FakeReplica[] {
  return machine.alive('small')
}

describe('a dedicated endpoint', () => {
  it('starts its least replicas by itself and keeps their memory', async () => {
    const scaling = { ...dedicated().autoscaling, minReplicas: 2 }
    const pool = machine.pool([dedicated({ autoscaling: scaling })])
    await machine.advance(3000)
    expect(alive()).toHaveLength(2)
    expect(pool.budget.reservedBytes).toBe(400)
    expect(pool.health()).toMatchObject({
      status: 'ok',
      replicas: [{ replica: 0 }, { replica: 1 }],
    })
    await machine.advance(3_600_000, 60_000)
    expect(alive()).toHaveLength(2)
  })

  it('has more replicas under load, spreads it, and gives them back without a lost request', async () => {
    const pool = machine.pool([dedicated()])
    await machine.advance(2000)
    const asked = Array.from({ length: 6 }, () => ask(pool, 'small', { maxTokens: 300 }))
    await machine.advance(6000)
    expect(alive()).toHaveLength(3)
    const more = Array.from({ length: 6 }, (_, at) =>
      ask(pool, 'small', { maxTokens: 100, cacheKey: `key ${at}` }),
    )
    await machine.advance(500)
    expect(alive().filter(({ numInside }) => numInside > 0).length).toBeGreaterThan(1)
    await machine.advance(60_000)
    expect([...asked, ...more].map(({ end }) => end)).toEqual(Array(12).fill('done'))
    expect(alive()).toHaveLength(1)
    expect(pool.budget.reservedBytes).toBe(200)
  })

  it('scales to zero when it was not used, and back with the next request', async () => {
    const pool = machine.pool([dedicated({ inactiveTimeoutMs: 5000 })])
    await machine.advance(2000)
    expect(alive()).toHaveLength(1)
    await machine.advance(6000)
    expect(alive()).toHaveLength(0)
    expect(pool.health().status).toBe('ok')
    const asked = ask(pool, 'small', { maxTokens: 1 })
    await machine.advance(2000)
    expect(asked.end).toBe('done')
  })

  it('is degraded while one of its replicas is gone, and serves with the other', async () => {
    const scaling = { ...dedicated().autoscaling, minReplicas: 2 }
    const pool = machine.pool([dedicated({ autoscaling: scaling })])
    await machine.advance(3000)
    alive()[0]?.crash()
    expect(pool.health().status).toBe('degraded')
    const asked = ask(pool, 'small', { maxTokens: 1, coldStartWaitMs: 0 })
    await machine.advance(300)
    expect(asked.end).toBe('done')
    await machine.advance(2000)
    expect(pool.health().status).toBe('ok')
  })

  it('is started again when it answers pings but no probe', async () => {
    const pool = machine.pool([dedicated()])
    await machine.advance(2000)
    const pid = alive()[0]?.status().pid
    alive()[0]?.deafen()
    await machine.advance(20_000)
    expect(pool.health().status).toBe('ok')
    expect(alive()[0]?.status()).toMatchObject({ numRestarts: 1, state: 'ready' })
    expect(alive()[0]?.status().pid).not.toBe(pid)
  })

  it('that wants another replica takes no model in use, and holds up no other', async () => {
    const idle = endpointSpec({
      name: 'other',
      variants: [variantSpec({ name: 'only', source: 'other' })],
      coldStartWaitMs: 60_000,
    })
    const pool = machine.pool([dedicated(), idle], { memoryBudgetBytes: 400 })
    const busy = ask(pool, 'other', { maxTokens: 400 })
    await machine.advance(3000)
    Array.from({ length: 6 }, () => ask(pool, 'small', { maxTokens: 300 }))
    await machine.advance(20_000)
    expect(alive()).toHaveLength(1)
    expect(pool.endpoints.get('other')?.variants.get('only')?.phase).toBe('ready')
    await machine.advance(30_000)
    expect(busy.end).toBe('done')
  })
})

describe('CPUs that replicas are bound to', () => {
  const launch = (cpuSet: string, programs: readonly string[] = ['/usr/bin/taskset']) =>
    affinityLauncher('chat', cpuSet, [0, 1, 2, 5], (path) => programs.includes(path))

  it('become what starts the engine', () => {
    expect(cpusOf('0-2,5')).toEqual([0, 1, 2, 5])
    expect(launch('0-1,5')).toEqual(['/usr/bin/taskset', '-c', '0-1,5'])
    expect(launch('5', ['/bin/taskset'])).toEqual(['/bin/taskset', '-c', '5'])
  })

  it.each([
    ['that the process may not use', '1,3-4', undefined, 'may not use 3, 4'],
    ['where there is no taskset', '0', [], 'taskset (package util-linux)'],
  ] as const)('are refused %s', async (_, cpuSet, programs, text) => {
    const error = await caught(Promise.resolve().then(() => launch(cpuSet, programs)))
    expect(error).toMatchObject({ code: 'DEPLOYMENT_BAD_ENDPOINT', param: 'cpuSets' })
    expect(error.message).toContain(text)
  })
})
