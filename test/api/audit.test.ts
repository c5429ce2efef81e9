import { afterEach, describe, expect, it } from 'vitest'
import { provenanceError } from '../../src/provenance/errors.ts'
import { deploymentErrorLike } from '../support/deployment-errors.ts'
import { FAKE_CARD } from '../support/fake-deployments.ts'
import { type TestServer, type TestServerOptions, testServer } from '../support/test-server.ts'

let server: TestServer
afterEach(() => server.app.close())

const CANARY = 'canary-3f1c'
const chatBody = { model: 'fake', messages: [{ role: 'user', content: `w1 ${CANARY}` }], seed: 5 }

async function ask(body: object, options: TestServerOptions = {}, url = '/v1/chat/completions') {
  server = testServer(options)
  return server.app.inject({
    method: 'POST',
    url,
    headers: { 'x-request-id': 'r-1' },
    payload: { ...chatBody, ...body },
  })
}

it('a record says who asked what of which weights, and what came of it', async () => {
  const response = await ask({
    n: 2,
    max_tokens: 3,
    temperature: 0.5,
    stop: [CANARY],
    logit_bias: { 3: 1 },
  })
  expect(server.audit.entries).toEqual([
    {
      type: 'request',
      version: 2,
      requestId: 'r-1',
      responseId: response.json().id,
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      principal: 'local',
      route: '/v1/chat/completions',
      outcome: 'completed',
      httpStatus: 200,
      errorCode: null,
      isStreamed: false,
      requestedAlias: 'fake',
      resolvedModel: FAKE_CARD.id,
      modelRevision: FAKE_CARD.digest,
      quantization: 'Q4_1',
      servingConfigDigest: FAKE_CARD.servingConfigDigest,
      systemFingerprint: 'fp_fake',
      seed: '5',
      sampling: {
        temperature: 0.5,
        topP: 1,
        topK: 0,
        minP: 0,
        presencePenalty: 0,
        frequencyPenalty: 0,
        repetitionPenalty: 1,
        maxTokens: 3,
        minTokens: 0,
        ignoreEos: false,
        numLogitBiases: 1,
        numStopStrings: 1,
        numChoices: 2,
      },
      numPrompts: 1,
      promptTokens: 2,
      completionTokens: 6,
      serviceTier: 'default',
      requestedServiceTier: null,
      cachedPromptTokens: 0,
      cacheStatus: 'miss',
      cacheKey: null,
      finishReasons: ['length', 'length'],
      fallbackEvents: [],
      latencies: {
        totalMs: expect.any(Number),
        firstTokenMs: expect.any(Number),
        queueMs: 1,
        prefillMs: 2,
        decodeMs: 3,
      },
      endpoint: null,
      variant: null,
      variantReason: null,
      region: null,
      retentionMode: null,
      adapter: null,
      adapterDigest: null,
    },
  ])
})

describe('exactly one record', () => {
  const failure = { afterTokens: 2, error: deploymentErrorLike('notReady') }
  it.each([
    ['completed', {}, {}, 200, null],
    ['completed', { stream: true }, {}, 200, null],
    ['refused', { temperature: 9 }, {}, 400, 'SERVER_INVALID_VALUE'],
    ['refused', { tools: [{}] }, {}, 400, 'SERVER_UNSUPPORTED_PARAMETER'],
    ['refused', { model: 'nope' }, {}, 404, 'SERVER_UNKNOWN_MODEL'],
    [
      'refused',
      {},
      { script: { refusal: deploymentErrorLike('overloaded') } },
      429,
      'DEPLOYMENT_OVERLOADED',
    ],
    [
      'refused',
      { stream: true },
      { script: { refusal: deploymentErrorLike('context') } },
      400,
      'REQUEST_CONTEXT_TOO_LONG',
    ],
    ['failed', {}, { script: { failure } }, 503, 'DEPLOYMENT_NOT_READY'],
    ['failed', { stream: true }, { script: { failure } }, 200, 'DEPLOYMENT_NOT_READY'],
    ['failed', {}, { script: { refusal: new TypeError(CANARY) } }, 500, 'SERVER_INTERNAL'],
    [
      'failed',
      { stream: true },
      { script: { finish: 'error' as const } },
      200,
      'SERVER_GENERATION_FAILED',
    ],
  ])('of a request that was %s: %j', async (outcome, body, options, httpStatus, errorCode) => {
    const response = await ask(body, options)
    expect(response.statusCode).toBe(httpStatus)
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
    expect(
      server.audit.records.map((one) => [
        one.outcome,
        one.httpStatus,
        one.errorCode,
        one.requestId,
      ]),
    ).toEqual([[outcome, httpStatus, errorCode, 'r-1']])
  })

  it('of a request with several prompts', async () => {
    await ask(
      { messages: undefined, prompt: ['w1 w2', 'w3'], n: 2, max_tokens: 1 },
      {},
      '/v1/completions',
    )
    expect(server.audit.records).toEqual([
      expect.objectContaining({
        numPrompts: 2,
        promptTokens: 3,
        completionTokens: 4,
        finishReasons: ['length', 'length', 'length', 'length'],
      }),
    ])
  })

  it('and none of a body that could not be parsed, nor of other routes', async () => {
    server = testServer()
    const headers = { 'content-type': 'application/json' }
    await server.app.inject({ method: 'POST', url: '/v1/completions', headers, payload: '{' })
    await server.app.inject('/v1/models')
    await server.app.inject('/health')
    expect(server.audit.entries).toEqual([])
  })
})

it('no record holds text of a prompt, an answer or a stop string, nor token ids', async () => {
  await ask({ stop: [CANARY], user: CANARY, metadata: { a: CANARY }, return_token_ids: true })
  const bodies = [
    { [CANARY]: 1 },
    { messages: [{ role: CANARY, content: CANARY }] },
    { user: [CANARY] },
  ]
  for (const body of bodies) {
    await server.app.inject({
      method: 'POST',
      url: '/v1/chat/completions',
      payload: { ...chatBody, ...body },
    })
  }
  expect(server.audit.records).toHaveLength(4)
  const text = JSON.stringify(server.audit.entries)
  expect(text).not.toContain(CANARY)
  expect(text).not.toContain(' w5')
})

it('an alias is cut, because it is a caller’s text', async () => {
  await ask({ model: 'x'.repeat(5000) })
  expect(server.audit.records[0]?.requestedAlias).toHaveLength(256)
})

describe('when the audit log cannot be written', () => {
  it('/health is red with the reason, while the backlog has room answers go on', async () => {
    await ask({})
    server.audit.current = { isHealthy: false, numPending: 3, reason: 'disk full' }
    const health = await server.app.inject('/health')
    expect(health.statusCode).toBe(503)
    expect(health.json()).toMatchObject({
      status: 'down',
      reasons: ['audit log: disk full'],
      audit: { healthy: false, pending_records: 3 },
    })
    expect(await server.metrics.registry.metrics()).toContain('ingot_audit_records_pending')
  })

  it('and once it is full no answer is given that could not be recorded', async () => {
    server = testServer()
    const details = { numPending: 10, limit: 10 }
    server.audit.refusal = provenanceError('AUDIT_BACKLOG_FULL', { details, retryAfterSeconds: 2 })
    const response = await server.app.inject({
      method: 'POST',
      url: '/v1/chat/completions',
      payload: chatBody,
    })
    expect([response.statusCode, response.headers['retry-after']]).toEqual([503, '2'])
    expect(server.deployments.requests).toEqual([])
    expect(server.audit.entries).toEqual([])
    expect(await server.metrics.registry.metrics()).toContain(
      'ingot_requests_refused_total{code="AUDIT_BACKLOG_FULL"} 1',
    )
  })
})
