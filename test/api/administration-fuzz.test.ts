/** Damaged bodies and strange names on the routes for administrators: refused in the usual shape, never a fault of ours. */

import { afterAll, beforeAll, expect, it } from 'vitest'
import { fakeAdministration } from '../support/fake-endpoints-admin.ts'
import { mutateJson } from '../support/json-mutations.ts'
import { seededRandom } from '../support/seeded-random.ts'
import { type TestServer, testServer } from '../support/test-server.ts'

const SEED = 20261128
const NUM_REQUESTS = 3000

let server: TestServer
beforeAll(() => {
  server = testServer({ parts: { administration: fakeAdministration() } })
})
afterAll(() => server.app.close())

const BODIES = [
  {
    model: 'm',
    hardware: 'cpu_2x_avx512',
    autoscaling: { min_replicas: 0, max_replicas: 2 },
    display_name: 'd',
    inactive_timeout: 5,
    state: 'STARTED',
    availability_zone: 'local',
    disable_prompt_cache: false,
    disable_speculative_decoding: true,
  },
  { model: 'm', name: 'n', type: 'serverless', weights: ['int8', 'int4'], pinned: true },
  { model: 'm', kv_memory_bytes: 2 ** 30, max_context_tokens: 64, max_sequences: 1, max_queue: 0 },
  { model: 'm', digest: `sha256:${'0'.repeat(64)}`, cold_start_wait_ms: 0 },
  { targets: ['a', 'b'], allow_fallbacks: false, quantizations: ['int8'], revision: 'pinned' },
  { variant: 'int8' },
  {},
  null,
]

const NAMES = [
  'known',
  'a/b',
  'a%2Fb',
  '..%2F..%2Fetc',
  '%00',
  '%zz',
  '__proto__',
  'constructor',
  '%F0%9F%92%A5',
  'n'.repeat(600),
  '%20',
  'a?name=b',
  'load',
  '',
]

const ROUTES = [
  ['POST', () => '/v1/endpoints'],
  ['GET', (name: string) => `/v1/endpoints?type=${name}`],
  ['GET', (name: string) => `/v1/endpoints/${name}`],
  ['PATCH', (name: string) => `/v1/endpoints/${name}`],
  ['DELETE', (name: string) => `/v1/endpoints/${name}`],
  ['GET', (name: string) => `/v1/hardware?model=${name}`],
  ['POST', (name: string) => `/v1/models/${name}/load`],
  ['POST', (name: string) => `/v1/models/${name}/unload`],
  ['GET', (name: string) => `/v1/models/${name}/profiles`],
  ['GET', (name: string) => `/v1/aliases/${name}`],
  ['PUT', (name: string) => `/v1/aliases/${name}`],
  ['DELETE', (name: string) => `/v1/aliases/${name}`],
  ['GET', (name: string) => `/v1/aliases/${name}/history`],
  ['GET', (name: string) => `/v1/history?name=${name}`],
  ['POST', () => '/v1/config/reload'],
] as const

it(`no request is answered with a 5xx or outside the error shape (seed ${SEED})`, {
  timeout: 120_000,
}, async () => {
  const random = seededRandom(SEED)
  const pick = <T>(list: readonly T[]): T => list[random.below(list.length)] as T
  const seen = new Map<number, number>()
  for (let round = 0; round < NUM_REQUESTS; round += 1) {
    const [method, urlOf] = pick(ROUTES)
    const url = urlOf(pick(NAMES))
    const body = random.below(4) === 0 ? pick(BODIES) : mutateJson(pick(BODIES), random)
    const payload = method === 'GET' || method === 'DELETE' ? '' : JSON.stringify(body)
    const headers = payload === '' ? {} : { 'content-type': 'application/json' }
    const response = await server.app.inject({ method, url, headers, payload })
    const { statusCode } = response
    const what = `round ${round}: ${method} ${url} gave ${statusCode} for ${payload.slice(0, 400)}`
    seen.set(statusCode, (seen.get(statusCode) ?? 0) + 1)
    expect([200, 204, 400, 404, 405, 409, 414], what).toContain(statusCode)
    if (statusCode < 400) continue
    const { error } = response.json()
    expect(Object.keys(error).sort(), what).toEqual(['code', 'message', 'param', 'type'])
    expect(error.type, what).toBe('invalid_request_error')
    expect(typeof error.code, what).toBe('string')
  }
  console.info(`fuzz: ${JSON.stringify(Object.fromEntries(seen))}`)
  for (const status of [200, 400, 404, 414]) expect(seen.get(status)).toBeGreaterThan(20)
})
