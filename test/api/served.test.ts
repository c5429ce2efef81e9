import { afterEach, describe, expect, it } from 'vitest'
import type { ServedBy } from '../../src/deployment/endpoints/routing.ts'
import { sseData, type TestServer, testServer } from '../support/test-server.ts'

let server: TestServer
afterEach(() => server.app.close())

const SERVED: ServedBy = {
  endpoint: 'small',
  variant: 'int4',
  reason: 'fits the 200 MiB that are free – just',
  quantization: 'int4',
  modelRevision: `sha256:${'12'.repeat(32)}`,
  servingConfigDigest: `sha256:${'34'.repeat(32)}`,
  region: 'eu-central',
  retention: 'none',
  fallbacks: ['large: it was stopped by ada'],
}
const TOLD = {
  endpoint: 'small',
  variant: 'int4',
  reason: SERVED.reason,
  quantization: 'int4',
  model_revision: SERVED.modelRevision,
  serving_config_digest: SERVED.servingConfigDigest,
  region: 'eu-central',
  retention: 'none',
  fallbacks: ['large: it was stopped by ada'],
}
const BODIES = {
  '/v1/chat/completions': { model: 'fake', messages: [{ role: 'user', content: 'w1' }] },
  '/v1/completions': { model: 'fake', prompt: 'w1' },
}
const ROUTES = Object.keys(BODIES) as (keyof typeof BODIES)[]

function ask(url: keyof typeof BODIES, body: object, served: ServedBy | null = SERVED) {
  server = testServer({ script: served === null ? {} : { served } })
  return server.app.inject({ method: 'POST', url, payload: { ...BODIES[url], ...body } })
}

const ingotHeaders = (headers: object): object =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => name.startsWith('x-ingot-')))

const HEADERS = {
  'x-ingot-endpoint': 'small',
  'x-ingot-variant': 'int4',
  'x-ingot-reason': 'fits the 200 MiB that are free ? just',
  'x-ingot-quantization': 'int4',
  'x-ingot-revision': SERVED.modelRevision,
  'x-ingot-serving-config': SERVED.servingConfigDigest,
  'x-ingot-region': 'eu-central',
  'x-ingot-retention': 'none',
  'x-ingot-fallbacks': 'large: it was stopped by ada',
}

describe.each(ROUTES)('an answer of %s', (url) => {
  it.each([false, true])('says in its headers who served it, streamed: %s', async (stream) => {
    const response = await ask(url, { stream })
    expect(response.statusCode).toBe(200)
    expect(ingotHeaders(response.headers)).toEqual(HEADERS)
    expect(response.body).not.toContain('provider')
    expect(response.body).not.toContain('ingot')
  })

  it('says it in its body to those who asked with provider', async () => {
    const response = await ask(url, { provider: {} })
    expect(response.json()).toMatchObject({ provider: 'small', ingot: TOLD })
  })

  it('says it in a stream once, and the provider in every chunk', async () => {
    const response = await ask(url, { provider: {}, stream: true, n: 2 })
    const chunks = sseData(response.body).filter((chunk) => chunk !== '[DONE]') as object[]
    const told = chunks.flatMap((chunk) => ('ingot' in chunk ? [chunk.ingot] : []))
    expect(told).toEqual([TOLD])
    expect('ingot' in (chunks[0] as object)).toBe(true)
    expect(chunks.every((chunk) => (chunk as { provider?: string }).provider === 'small')).toBe(
      true,
    )
  })

  it('leaves out what is not known', async () => {
    const quiet = { ...SERVED, region: null, fallbacks: [] }
    const { 'x-ingot-region': _, 'x-ingot-fallbacks': __, ...rest } = HEADERS
    expect(ingotHeaders((await ask(url, {}, quiet)).headers)).toEqual(rest)
    await server.app.close()
    const response = await ask(url, { provider: {} }, null)
    expect(ingotHeaders(response.headers)).toEqual({})
    expect(response.json()).not.toHaveProperty('provider')
  })

  it('is recorded with the endpoint, its variant and what was passed over', async () => {
    await ask(url, {})
    expect(server.audit.records[0]).toMatchObject({
      version: 2,
      requestedAlias: 'fake',
      resolvedModel: 'small',
      modelRevision: SERVED.modelRevision,
      quantization: 'int4',
      servingConfigDigest: SERVED.servingConfigDigest,
      fallbackEvents: ['large: it was stopped by ada'],
      endpoint: 'small',
      variant: 'int4',
      variantReason: SERVED.reason,
      region: 'eu-central',
      retentionMode: 'none',
    })
  })
})

it('a request of several prompts is told once', async () => {
  const response = await ask('/v1/completions', { prompt: ['w1', 'w2'] })
  expect(ingotHeaders(response.headers)).toEqual(HEADERS)
  expect(server.audit.records[0]?.fallbackEvents).toEqual(SERVED.fallbacks)
})
