import OpenAI from 'openai'
import { afterEach, expect, it } from 'vitest'
import { deploymentErrorLike } from '../support/deployment-errors.ts'
import type { FakeScript } from '../support/fake-deployments.ts'
import { converseInPython, pythonWithOpenAi } from '../support/openai-python.ts'
import { listen, type TestServer, testServer } from '../support/test-server.ts'
import { converse } from './openai-client-script.ts'

let server: TestServer
afterEach(() => server.app.shutdown(0))

/** Two milliseconds a token: long enough for a client to hang up in the middle. */
const paced: FakeScript = {
  naturalLength: 500,
  pace: () => new Promise((resolve) => setTimeout(resolve, 2)),
}

async function start(script: FakeScript): Promise<string> {
  server = testServer({ script })
  return `${await listen(server.app)}/v1`
}

it('the npm client has its scripted conversation', async () => {
  const baseURL = await start(paced)
  const done = await converse({ baseURL, model: 'fake-model' })
  expect(done).toHaveLength(9)
  await expect.poll(() => server.deployments.numRunning).toBe(0)
})

it('the PyPI client has the same conversation', { timeout: 300_000 }, async (context) => {
  const baseURL = await start(paced)
  const found = await pythonWithOpenAi()
  if ('reason' in found) return context.skip(found.reason)
  expect(await converseInPython(found.python, { baseURL, model: 'fake-model' })).toHaveLength(8)
})

it('an error in the middle of a stream is thrown by the client with its code', async () => {
  const failure = { afterTokens: 2, error: deploymentErrorLike('notReady') }
  const client = new OpenAI({ baseURL: await start({ failure }), apiKey: 'k', maxRetries: 0 })
  const stream = await client.chat.completions.create({
    model: 'fake',
    messages: [{ role: 'user', content: 'w1' }],
    stream: true,
  })
  const texts: string[] = []
  const read = async () => {
    for await (const chunk of stream) texts.push(chunk.choices[0]?.delta.content ?? '')
  }
  await expect(read()).rejects.toMatchObject({ code: 'service_unavailable' })
  expect(texts).toHaveLength(3)
})

it.each([
  ['overloaded', OpenAI.RateLimitError, '7'],
  ['notReady', OpenAI.InternalServerError, '5'],
  ['context', OpenAI.BadRequestError, null],
] as const)('%s is the client’s own class of error', async (kind, expected, retryAfter) => {
  const baseURL = await start({ refusal: deploymentErrorLike(kind) })
  const client = new OpenAI({ baseURL, apiKey: 'k', maxRetries: 0 })
  const messages = [{ role: 'user' as const, content: 'w1' }]
  const error = await client.chat.completions.create({ model: 'fake', messages }).catch((e) => e)
  expect(error).toBeInstanceOf(expected)
  expect(error.headers.get('retry-after')).toBe(retryAfter)
})

it('the client retries a refusal after the time that it names', async () => {
  const error = deploymentErrorLike('overloaded')
  const baseURL = await start({})
  server.deployments.script.refusal = Object.assign(error, { retryAfterSeconds: 1 })
  const client = new OpenAI({ baseURL, apiKey: 'k', maxRetries: 1 })
  setTimeout(() => {
    delete server.deployments.script.refusal
  }, 300)
  const answer = await client.chat.completions.create({
    model: 'fake',
    messages: [{ role: 'user', content: 'w1' }],
  })
  expect(answer.choices).toHaveLength(1)
  expect(server.deployments.requests).toHaveLength(2)
})
