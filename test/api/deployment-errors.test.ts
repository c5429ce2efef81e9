/** What the deployment refuses or breaks off, in the API's words; and the ids by which a caller can ask about it. */

import { afterEach, describe, expect, it } from 'vitest'
import { InvariantError } from '../../src/base/errors.ts'
import { deploymentErrorLike } from '../support/deployment-errors.ts'
import { sseData, type TestServer, testServer } from '../support/test-server.ts'

let server: TestServer
afterEach(() => server.app.close())

const chatBody = { model: 'fake', messages: [{ role: 'user', content: 'w1' }] }

async function post(url: string, payload: object) {
  const response = await server.app.inject({ method: 'POST', url, payload })
  return { status: response.statusCode, headers: response.headers, body: response.json() }
}
const chat = (body: object) => post('/v1/chat/completions', { ...chatBody, ...body })
const complete = (body: object) => post('/v1/completions', { model: 'fake', prompt: 'w1', ...body })

describe('what the deployment refuses', () => {
  it.each([false, true])('is a status as long as nothing was sent (stream: %s)', async (stream) => {
    server = testServer({ script: { refusal: deploymentErrorLike('overloaded') } })
    const { status, headers, body } = await chat({ stream })
    expect(status).toBe(429)
    expect(headers['retry-after']).toBe('7')
    expect(body.error).toMatchObject({ type: 'rate_limit_error', code: 'rate_limit_exceeded' })
  })

  it('a prompt too long is 400 context_length_exceeded', async () => {
    server = testServer({ script: { refusal: deploymentErrorLike('context') } })
    const { status, body } = await chat({})
    expect([status, body.error.code, body.error.param]).toEqual([
      400,
      'context_length_exceeded',
      'messages',
    ])
  })

  it('neutral names of parameters become the wire’s', async () => {
    server = testServer({ script: { refusal: deploymentErrorLike('maxTokens') } })
    expect((await chat({})).body.error.param).toBe('max_tokens')
  })

  it('a replica that is not ready is 503 with the default Retry-After', async () => {
    server = testServer({ script: { refusal: deploymentErrorLike('notReady') } })
    const { status, headers, body } = await chat({})
    expect([status, headers['retry-after']]).toEqual([503, '5'])
    expect(body.error).toMatchObject({ type: 'server_error', code: 'service_unavailable' })
  })

  it('one refused prompt refuses the whole list and cancels the others', async () => {
    server = testServer()
    const generate = server.deployments.generate.bind(server.deployments)
    server.deployments.generate = (request, signal) => {
      if (request.id.endsWith('-1'))
        server.deployments.script.refusal = deploymentErrorLike('overloaded')
      return generate(request, signal)
    }
    const { status } = await complete({ prompt: ['a', 'b', 'c'] })
    expect(status).toBe(429)
    await expect.poll(() => server.deployments.numRunning).toBe(0)
  })

  it('a fault of ours is 500 without its text, and with the request id to quote', async () => {
    for (const refusal of [new TypeError('secret path'), new InvariantError('I9', 'secret path')]) {
      server = testServer({ script: { refusal } })
      const { status, headers, body } = await chat({})
      expect(status).toBe(500)
      expect(body.error).toMatchObject({ type: 'server_error', code: 'server_error', param: null })
      expect(body.error.message).toContain(headers['x-request-id'])
      expect(JSON.stringify(body)).not.toContain('secret')
    }
  })
})

describe('what fails in the middle', () => {
  it('is a status for a whole answer and an error event for a stream, without [DONE]', async () => {
    const failure = { afterTokens: 2, error: deploymentErrorLike('notReady') }
    server = testServer({ script: { failure } })
    expect((await chat({})).status).toBe(503)
    const response = await server.app.inject({
      method: 'POST',
      url: '/v1/chat/completions',
      payload: { ...chatBody, stream: true },
    })
    expect(response.statusCode).toBe(200)
    const data = sseData(response.body)
    expect(data).toHaveLength(4)
    expect(data.at(-1)).toEqual({
      error: {
        message: expect.any(String),
        type: 'server_error',
        param: null,
        code: 'service_unavailable',
      },
    })
  })

  it.each(['error', 'cancelled'] as const)(
    'a choice that finishes with %s is an error',
    async (finish) => {
      server = testServer({ script: { finish } })
      expect((await chat({})).status).toBe(finish === 'error' ? 500 : 503)
    },
  )
})

describe('request ids', () => {
  it('are on every response, and the caller’s own comes back when it is sane', async () => {
    server = testServer()
    const id = async (headers: Record<string, string>) =>
      (await server.app.inject({ url: '/version', headers })).headers['x-request-id']
    expect(await id({ 'x-request-id': 'abc-123:x/y=' })).toBe('abc-123:x/y=')
    expect(await id({ 'x-client-request-id': 'mine' })).toBe('mine')
    expect(await id({ 'x-request-id': 'a b' })).toMatch(/^req_[0-9a-f]{32}$/)
    expect(await id({ 'x-request-id': 'x'.repeat(129) })).toMatch(/^req_/)
    expect(await id({})).toMatch(/^req_/)
    const missing = await server.app.inject({ url: '/nope', headers: { 'x-request-id': 'r1' } })
    expect(missing.headers['x-request-id']).toBe('r1')
  })

  it('come with the time it took', async () => {
    server = testServer()
    const { headers } = await chat({})
    expect(Number(headers['openai-processing-ms'])).toBeGreaterThanOrEqual(0)
  })
})
