/** `/debug/trace` over a real engine core: what Perfetto would read, and who may ask for it. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { StepTraces } from '../../src/deployment/step-traces.ts'
import { switchTrace } from '../../src/worker/trace-switch.ts'
import { makeSpec, makeTestEngine, type TestEngine } from '../support/engine-builders.ts'
import { FAKE_CARD } from '../support/fake-deployments.ts'
import { FakeEndpointsAdmin, fakeAdministration } from '../support/fake-endpoints-admin.ts'
import { type TestServer, testServer } from '../support/test-server.ts'

let server: TestServer
let folder: string
let engine: TestEngine
let forget: () => void

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ingot-debug-trace-'))
  engine = makeTestEngine({ limits: { maxNumSeqs: 1 } })
  engine.executor.duringExecute = () => {
    engine.clock.ms += 4
  }
  const traces = new StepTraces()
  forget = traces.add(FAKE_CARD.id, 0, {
    trace: async (action) => switchTrace(engine.core, folder, action),
  })
  const machine = { numCores: 2, memoryBytes: 2 ** 30, kernels: 'fake' }
  const endpoints = new FakeEndpointsAdmin()
  server = testServer({
    parts: {
      administration: { ...fakeAdministration(), endpoints, machine, traces },
    },
  })
})
afterEach(async () => {
  await server.app.close()
  await rm(folder, { recursive: true, force: true })
})

const post = (payload: object, headers = {}) =>
  server.app.inject({ method: 'POST', url: '/debug/trace', payload, headers })
const get = (query = '') => server.app.inject({ method: 'GET', url: `/debug/trace${query}` })

interface Event {
  readonly name: string
  readonly ph: string
  readonly ts: number
  readonly dur?: number
  readonly pid: number
  readonly tid: number
  readonly args: Readonly<Record<string, unknown>>
}

describe('a step trace', () => {
  it('is switched on and off, and downloaded as events that Perfetto reads', async () => {
    expect((await get()).json().error.message).toMatch(/^No step trace was written yet/)
    const on = await post({ action: 'start', model: FAKE_CARD.id })
    expect(on.json()).toEqual({
      object: 'trace',
      replicas: [{ model: FAKE_CARD.id, replica: 0, is_on: true, file: null, reason: null }],
    })
    engine.core.add(makeSpec(1, { promptTokens: 3, maxTokens: 2 }))
    engine.core.add(makeSpec(2, { promptTokens: 3, maxTokens: 1 }))
    await engine.drain()
    const [stopped] = (await post({ action: 'stop' })).json().replicas
    expect(stopped).toMatchObject({ is_on: false, reason: null, file: expect.any(String) })
    const response = await get(`?model=${FAKE_CARD.id}`)
    expect(response.headers).toMatchObject({
      'content-type': 'application/json',
      'content-disposition': expect.stringMatching(/^attachment; filename="steps-.*\.json"$/),
    })
    const { traceEvents } = response.json() as { traceEvents: Event[] }
    for (const { name, ph, ts, dur, pid, tid } of traceEvents) {
      expect(['X', 'i', 'C', 'M']).toContain(ph)
      expect(name).toEqual(expect.any(String))
      for (const number of [ts, pid, tid]) expect(Number.isInteger(number)).toBe(true)
      if (ph === 'X') expect(dur).toBeGreaterThan(0)
    }
    const waits = traceEvents.filter(({ args }) => args.next === 2)
    expect(waits.map(({ args }) => args['next waits for'])).toEqual(['a place', 'a place'])
    expect(response.body).not.toContain('tokenIds')
  })

  it('of a model that has no replica is refused by its name', async () => {
    const response = await post({ action: 'start', model: 'nobody' })
    expect([response.statusCode, response.json().error.param]).toEqual([404, 'model'])
    forget()
    expect((await post({ action: 'start' })).json()).toEqual({ object: 'trace', replicas: [] })
  })

  it.each([
    [{ action: 'pause' }, 'action'],
    [{}, 'action'],
    [{ action: 'start', replica: 1 }, 'replica'],
  ])('refuses %j', async (body, param) => {
    const response = await post(body)
    expect([response.statusCode, response.json().error.param]).toEqual([400, param])
  })

  it('is not for who may not administer', async () => {
    const response = await post({ action: 'start' }, { 'x-forwarded-for': '10.0.0.1' })
    expect(response.statusCode).toBe(403)
    expect(engine.core.endTrace()).toBe(null)
  })
})
