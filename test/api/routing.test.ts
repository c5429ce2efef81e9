import { afterEach, describe, expect, it } from 'vitest'
import { type TestServer, testServer } from '../support/test-server.ts'

let server: TestServer
afterEach(() => server.app.close())

const BODIES = {
  '/v1/chat/completions': { model: 'fake', messages: [{ role: 'user', content: 'w1' }] },
  '/v1/completions': { model: 'fake', prompt: 'w1' },
}
const ROUTES = Object.keys(BODIES) as (keyof typeof BODIES)[]

function post(url: keyof typeof BODIES, provider: unknown, headers: Record<string, string> = {}) {
  server = testServer()
  const payload = { ...BODIES[url], ...(provider === undefined ? {} : { provider }) }
  return server.app.inject({ method: 'POST', url, payload, headers })
}

describe.each(ROUTES)('provider on %s', (url) => {
  it('becomes constraints, every field of it', async () => {
    const response = await post(url, {
      order: ['a', 'ingot'],
      only: ['a', 'b'],
      ignore: ['c'],
      quantizations: ['int8', 'bf16'],
      allow_fallbacks: false,
      require_parameters: true,
      data_collection: 'deny',
      zdr: false,
      sort: 'throughput',
    })
    expect(response.statusCode).toBe(200)
    expect(server.deployments.requests[0]?.routing).toEqual({
      order: ['a', 'ingot'],
      only: ['a', 'b'],
      ignore: ['c'],
      quantizations: ['int8', 'bf16'],
      allowFallbacks: false,
      requiresNoRetention: true,
      sort: 'throughput',
    })
  })

  it('constrains nothing when it is empty or null', async () => {
    const free = { order: [], only: null, ignore: [], quantizations: null, sort: null }
    await post(url, {})
    expect(server.deployments.requests[0]?.routing).toEqual({
      ...free,
      allowFallbacks: true,
      requiresNoRetention: false,
    })
    await server.app.close()
    await post(url, null)
    expect(server.deployments.requests[0]?.routing).toBeNull()
  })

  it('asks for endpoints that keep nothing with zdr too', async () => {
    await post(url, { zdr: true, data_collection: 'allow' })
    expect(server.deployments.requests[0]?.routing?.requiresNoRetention).toBe(true)
  })

  it.each([
    [{ max_price: { prompt: 1 } }, 'provider.max_price', 'unsupported_parameter'],
    [{ preferred_max_latency: 1 }, 'provider.preferred_max_latency', 'unsupported_parameter'],
    [
      { enforce_distillable_text: true },
      'provider.enforce_distillable_text',
      'unsupported_parameter',
    ],
    [{ sort: 'price' }, 'provider.sort', 'invalid_value'],
    [{ quantizations: [] }, 'provider.quantizations', 'invalid_value'],
    [{ quantizations: ['int5'] }, 'provider.quantizations[0]', 'invalid_value'],
    [{ only: [] }, 'provider.only', 'invalid_value'],
    [{ only: 'a' }, 'provider.only', 'invalid_type'],
    [{ order: [''] }, 'provider.order[0]', 'invalid_value'],
    [{ data_collection: 'perhaps' }, 'provider.data_collection', 'invalid_value'],
    [{ allow_fallback: true }, 'provider.allow_fallback', 'unknown_parameter'],
    ['a', 'provider', 'invalid_type'],
  ])('is refused by name: %j', async (provider, param, code) => {
    const response = await post(url, provider)
    expect(response.json().error).toMatchObject({ param, code })
    expect(server.deployments.requests).toEqual([])
  })

  it.each([
    ['600', 600_000],
    ['0', 0],
    ['1.5', 1500],
    ['3600', 3_600_000],
  ])('X-Scale-Up-Timeout %s is %d ms', async (value, expected) => {
    await post(url, undefined, { 'x-scale-up-timeout': value })
    expect(server.deployments.requests[0]?.coldStartWaitMs).toBe(expected)
  })

  it.each(['3601', '-1', '', '1e3', '10s', '0x10', 'NaN'])(
    'X-Scale-Up-Timeout "%s" is refused by its name',
    async (value) => {
      const response = await post(url, undefined, { 'x-scale-up-timeout': value })
      expect(response.json().error).toMatchObject({
        param: 'X-Scale-Up-Timeout',
        code: 'invalid_value',
      })
    },
  )
})
