import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  FAKE_PROFILE,
  type FakeEndpointsAdmin,
  fakeAdministration,
} from '../support/fake-endpoints-admin.ts'
import { type TestServer, testServer } from '../support/test-server.ts'

const TOKEN = 'a-token-of-some-length'

let server: TestServer
let endpoints: FakeEndpointsAdmin

function start(adminToken: string | null = null): void {
  const administration = fakeAdministration()
  endpoints = administration.endpoints
  server = testServer({ parts: { administration }, config: { adminToken } })
}

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

async function ask(method: Method, url: string, payload?: object) {
  const response = await server.app.inject({ method, url, ...(payload ? { payload } : {}) })
  return { status: response.statusCode, body: response.body === '' ? null : response.json() }
}

beforeEach(() => start())
afterEach(() => server.app.close())

const ROUTES: readonly [Method, string][] = [
  ['GET', '/v1/endpoints'],
  ['POST', '/v1/endpoints'],
  ['GET', '/v1/endpoints/a'],
  ['PATCH', '/v1/endpoints/a'],
  ['DELETE', '/v1/endpoints/a'],
  ['GET', '/v1/clusters/availability-zones'],
  ['GET', '/v1/hardware'],
  ['GET', '/v1/status'],
  ['GET', '/v1/history'],
  ['POST', '/v1/load_lora_adapter'],
  ['POST', '/v1/unload_lora_adapter'],
  ['POST', '/v1/models/a/load'],
  ['POST', '/v1/models/a/unload'],
  ['GET', '/v1/models/a/profiles'],
  ['GET', '/v1/aliases'],
  ['GET', '/v1/aliases/a'],
  ['PUT', '/v1/aliases/a'],
  ['DELETE', '/v1/aliases/a'],
  ['GET', '/v1/aliases/a/history'],
  ['POST', '/v1/config/reload'],
]

describe('who may administer', () => {
  it.each(ROUTES)(
    '%s %s is closed to other machines while no token is set',
    async (method, url) => {
      const response = await server.app.inject({ method, url, remoteAddress: '192.0.2.7' })
      expect([response.statusCode, response.json().error]).toEqual([
        403,
        {
          message: expect.stringContaining('set INGOT_ADMIN_TOKEN'),
          type: 'permission_error',
          param: null,
          code: 'permission_denied',
        },
      ])
      expect(endpoints.changes.length + endpoints.calls.length).toBe(0)
    },
  )

  it.each(ROUTES)('%s %s asks for the token where one is set', async (method, url) => {
    await server.app.close()
    start(TOKEN)
    const response = await server.app.inject({ method, url })
    expect(response.statusCode).toBe(401)
    expect(response.headers['www-authenticate']).toBe('Bearer')
    expect(response.json().error).toMatchObject({
      type: 'authentication_error',
      code: 'invalid_api_key',
    })
  })

  it('with the token other machines may, and models stay open to everybody', async () => {
    await server.app.close()
    start(TOKEN)
    const remoteAddress = '192.0.2.7'
    const headers = { authorization: `Bearer ${TOKEN}` }
    const status = await server.app.inject({ url: '/v1/status', headers, remoteAddress })
    expect(status.statusCode).toBe(200)
    for (const url of ['/v1/models', '/v1/models/org/fake', '/health']) {
      expect((await server.app.inject({ url, remoteAddress })).statusCode).toBe(200)
    }
  })

  it('every route of this group is tested for it', async () => {
    const { body } = await ask('GET', '/openapi.json')
    const documented = Object.entries(
      body.paths as Record<string, Record<string, { tags: string[] }>>,
    )
      .flatMap(([path, operations]) =>
        Object.entries(operations).map(([method, { tags }]) => ({ path, method, tags })),
      )
      .filter(({ tags }) => tags.includes('endpoints') || tags.includes('administration'))
      .map(({ path, method }) => `${method.toUpperCase()} ${path.replaceAll(/\{\w+\}/g, 'a')}`)
    expect(documented.sort()).toEqual(ROUTES.map(([method, url]) => `${method} ${url}`).sort())
  })
})

describe('models', () => {
  it('are loaded and unloaded by name, slashes and a variant included, also without a body', async () => {
    await ask('POST', '/v1/endpoints', { model: 'm', name: 'org/m' })
    const loaded = await ask('POST', '/v1/models/org/m/load', { variant: 'int8' })
    expect(loaded).toEqual({
      status: 200,
      body: expect.objectContaining({
        object: 'endpoint.status',
        state: 'STARTED',
        replicas: [],
        reserved_bytes: 0,
        load_ms: null,
        spec: expect.objectContaining({ name: 'org/m', is_pinned: false }),
      }),
    })
    expect((await ask('POST', '/v1/models/org%2Fm/unload')).status).toBe(200)
    expect(endpoints.calls).toEqual(['load org/m int8', 'unload org/m'])
  })

  it('that are not there, or pinned, are refused in the usual shape', async () => {
    await ask('POST', '/v1/endpoints', { model: 'm', name: 'm', type: 'serverless', pinned: true })
    const absent = await ask('POST', '/v1/models/nobody/load')
    expect([absent.status, absent.body.error.code]).toEqual([404, 'not_found'])
    const pinned = await ask('POST', '/v1/models/m/unload', {})
    expect([pinned.status, pinned.body.error.code]).toEqual([409, 'conflict'])
    const wrong = await ask('POST', '/v1/models/m/load', { variant: 7 })
    expect([wrong.status, wrong.body.error.param]).toEqual([400, 'variant'])
  })

  it('tell what each way to serve them would take, before any load', async () => {
    endpoints.profilesByModel.set('org/m', [FAKE_PROFILE])
    expect(await ask('GET', '/v1/models/org/m/profiles')).toEqual({
      status: 200,
      body: {
        object: 'list',
        data: [
          {
            object: 'profile',
            variant: 'int8',
            quantization: 'int8',
            format: 'int8 (groups of 32)',
            weights_bytes: 100,
            kv_bytes_per_token: 2,
            kv_memory_bytes: 200,
            max_context_tokens: 100,
            total_bytes: 300,
            fits_now: true,
            quality_kl: null,
            tokens_per_second: 12.5,
          },
        ],
      },
    })
  })
})

it('/v1/status shows the memory and every endpoint', async () => {
  await ask('POST', '/v1/endpoints', { model: 'm', name: 'm' })
  const { body } = await ask('GET', '/v1/status')
  expect({ ...body, endpoints: body.endpoints.length }).toEqual({
    object: 'status',
    budget_bytes: 1000,
    budget_reason: 'configured',
    reserved_bytes: 0,
    resident_bytes: 0,
    num_loading: 0,
    endpoints: 1,
  })
})

describe('aliases', () => {
  it('are set, replaced as a whole, removed, and every change stays known', async () => {
    const first = await ask('PUT', '/v1/aliases/org/chat', { targets: ['a', 'b'] })
    const alias = {
      object: 'alias',
      name: 'org/chat',
      targets: ['a', 'b'],
      allow_fallbacks: true,
      quantizations: null,
      revision: 'newest',
      region: null,
      retention: null,
    }
    expect(first).toEqual({ status: 200, body: alias })
    const change = { targets: ['a'], allow_fallbacks: false, quantizations: ['int8'] }
    const second = await ask('PUT', '/v1/aliases/org/chat', { ...change, revision: 'pinned' })
    expect(second.body).toEqual({ ...alias, ...change, revision: 'pinned' })
    expect(await ask('GET', '/v1/aliases/org/chat')).toEqual(second)
    expect((await ask('GET', '/v1/aliases')).body).toEqual({ object: 'list', data: [second.body] })
    expect(await ask('DELETE', '/v1/aliases/org/chat')).toEqual({ status: 204, body: null })
    expect((await ask('GET', '/v1/aliases/org/chat')).status).toBe(404)
    expect((await ask('DELETE', '/v1/aliases/org/chat')).status).toBe(404)
    const { body } = await ask('GET', '/v1/aliases/org/chat/history')
    expect(
      body.data.map((one: Record<string, unknown>) => [one.sequence, one.who, one.what]),
    ).toEqual([
      [1, 'local', 'alias'],
      [2, 'local', 'alias'],
      [3, 'local', 'alias'],
    ])
    expect(body.data[1].before.targets).toEqual(['a', 'b'])
    expect(body.data[2].after).toBeNull()
    expect((await ask('GET', '/v1/history?name=other')).body.data).toEqual([])
    expect((await ask('GET', '/v1/history')).body.data).toHaveLength(3)
  })

  it.each([
    ['no target', '/v1/aliases/a', { targets: [] }, 'targets'],
    ['a target twice', '/v1/aliases/a', { targets: ['b', 'b'] }, 'targets'],
    [
      'a format of nobody',
      '/v1/aliases/a',
      { targets: ['b'], quantizations: ['int3'] },
      'quantizations[0]',
    ],
    ['an unknown field', '/v1/aliases/a', { targets: ['b'], weight: 1 }, 'weight'],
    ['a name with a space', '/v1/aliases/a%20b', { targets: ['b'] }, 'name'],
  ])('with %s are refused by name', async (_, url, payload, param) => {
    const { status, body } = await ask('PUT', url, payload)
    expect([status, body.error.param]).toEqual([400, param])
    expect(endpoints.changes).toEqual([])
  })
})

it('the configuration is read again on demand, and the history says for whom', async () => {
  expect(await ask('POST', '/v1/config/reload')).toEqual({
    status: 200,
    body: { object: 'list', data: [] },
  })
  expect(endpoints.calls).toEqual(['reload by local'])
})

it('a name that no name can be as long as is refused as such, also of a model', async () => {
  for (const path of ['models', 'endpoints', 'aliases']) {
    const { status, body } = await ask('GET', `/v1/${path}/${'n'.repeat(600)}`)
    expect([status, body.error.code]).toEqual([414, 'invalid_url'])
    expect(body.error.message).toContain('at most 512 characters')
  }
})

it('without endpoints these routes are unknown', async () => {
  await server.app.close()
  server = testServer()
  expect((await ask('GET', '/v1/status')).status).toBe(404)
})
