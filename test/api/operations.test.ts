import { pino } from 'pino'
import { afterEach, expect, it } from 'vitest'
import type { HealthReport } from '../../src/deployment/deployments.ts'
import { type TestServer, testServer } from '../support/test-server.ts'

let server: TestServer
afterEach(() => server.app.close())

const replica = {
  modelId: 'fake-model',
  replica: 0,
  state: 'ready',
  pid: 7,
  numRestarts: 1,
  numRunning: 2,
  numWaiting: 3,
  numFreeBlocks: 4,
  numBlocks: 5,
  sinceMs: 6.4,
  reason: null,
} as const

it.each([
  ['ok', 200],
  ['degraded', 200],
  ['starting', 503],
  ['down', 503],
] as const)(
  '/health of a deployment that is %s is %i, under all its names',
  async (status, code) => {
    server = testServer()
    server.deployments.report = { status, replicas: [replica] } satisfies HealthReport
    for (const url of ['/health', '/v1/health', '/ping']) {
      const response = await server.app.inject(url)
      expect([response.statusCode, response.headers['retry-after']]).toEqual([
        code,
        code === 200 ? undefined : '5',
      ])
      expect(response.json()).toEqual({
        status,
        reasons: [],
        open_requests: 0,
        replicas: [
          {
            model: 'fake-model',
            replica: 0,
            state: 'ready',
            pid: 7,
            restarts: 1,
            running: 2,
            waiting: 3,
            free_blocks: 4,
            blocks: 5,
            since_ms: 6,
            reason: null,
          },
        ],
        audit: { healthy: true, pending_records: 0 },
      })
    }
  },
)

it('/health gives the reason of a replica that is not ready', async () => {
  server = testServer()
  const reason = 'its process was killed'
  server.deployments.report = {
    status: 'starting',
    replicas: [{ ...replica, state: 'restarting', reason }],
  }
  expect((await server.app.inject('/health')).json().reasons).toEqual([
    `fake-model replica 0: ${reason}`,
  ])
})

it('/v1/models lists one card a model, found by id, by alias, and by a name with a slash', async () => {
  server = testServer()
  const list = (await server.app.inject('/v1/models')).json()
  expect(list).toEqual({
    object: 'list',
    data: [
      {
        id: 'fake-model',
        object: 'model',
        created: 1_700_000_000,
        owned_by: 'tests',
        max_model_len: 1024,
        aliases: ['fake', 'org/fake'],
        digest: expect.stringMatching(/^sha256:/),
        quantization: 'Q4_1',
        root: 'fake-model',
        parent: null,
        adapter_digest: null,
      },
    ],
  })
  for (const name of ['fake-model', 'fake', 'org/fake', 'org%2Ffake']) {
    expect((await server.app.inject(`/v1/models/${name}`)).json()).toEqual(list.data[0])
  }
})

it('/version and HEAD /health answer', async () => {
  server = testServer()
  expect((await server.app.inject('/version')).json()).toEqual({ version: '0.0.0-test' })
  const head = await server.app.inject({ method: 'HEAD', url: '/health' })
  expect([head.statusCode, head.body]).toEqual([200, ''])
})

it('/metrics is Prometheus text that counts what happened', async () => {
  server = testServer()
  const messages = [{ role: 'user', content: 'w1 w2' }]
  const payload = { model: 'fake', messages, n: 2, max_tokens: 3 }
  await server.app.inject({ method: 'POST', url: '/v1/chat/completions', payload })
  await server.app.inject({ method: 'POST', url: '/v1/chat/completions', payload: {} })
  const response = await server.app.inject('/metrics')
  expect(response.headers['content-type']).toContain('text/plain; version=0.0.4')
  const model = 'model_name="fake-model"'
  for (const line of [
    `vllm:prompt_tokens_total{${model}} 2`,
    `vllm:generation_tokens_total{${model}} 6`,
    `vllm:request_success_total{${model},finished_reason="length"} 2`,
    `vllm:time_to_first_token_seconds_count{${model}} 1`,
    `vllm:inter_token_latency_seconds_count{${model}} 4`,
    `vllm:e2e_request_latency_seconds_count{${model}} 1`,
    `vllm:request_queue_time_seconds_sum{${model}} 0.001`,
    'ingot_http_requests_total{method="POST",route="/v1/chat/completions",status="200"} 1',
    'ingot_http_requests_total{method="POST",route="/v1/chat/completions",status="400"} 1',
    'ingot_requests_refused_total{code="SERVER_MISSING_PARAMETER"} 1',
    'ingot_generation_requests_open 0',
    'ingot_build_info{version="0.0.0-test"} 1',
  ]) {
    expect(response.body).toContain(`${line}\n`)
  }
})

it('/openapi.json documents every parameter, with ranges and neutral values', async () => {
  server = testServer()
  const document = (await server.app.inject('/openapi.json')).json()
  expect(document.openapi).toBe('3.1.0')
  expect(Object.keys(document.paths).sort()).toEqual([
    '/health',
    '/metrics',
    '/v1/chat/completions',
    '/v1/completions',
    '/v1/models',
    '/v1/models/{model}',
    '/version',
  ])
  const body = document.paths['/v1/chat/completions'].post.requestBody.content['application/json']
  expect(body.schema.required).toEqual(['model', 'messages'])
  expect(body.schema.additionalProperties).toBe(false)
  expect(body.schema.properties.temperature).toMatchObject({ minimum: 0, maximum: 2 })
  expect(body.schema.properties.tools.description).toContain('Only an empty array')
  const names = Object.keys(body.schema.properties)
  for (const name of ['top_k', 'min_p', 'seed', 'return_token_ids', 'prompt_logprobs', 'user']) {
    expect(names).toContain(name)
  }
})

it('a fault is one line of the log, with the request id once', async () => {
  const lines: string[] = []
  const logger = pino({ base: null }, { write: (line) => lines.push(line) })
  server = testServer({ script: { refusal: new TypeError('broken') }, parts: { logger } })
  const payload = { model: 'fake-model', messages: [{ role: 'user', content: 'w1' }] }
  const headers = { 'x-request-id': 'r-1' }
  await server.app.inject({ method: 'POST', url: '/v1/chat/completions', headers, payload })
  const faults = lines.filter((line) => line.includes('"err"'))
  expect(faults.map((line) => line.match(/"requestId":"[^"]*"/g))).toEqual([['"requestId":"r-1"']])
})
