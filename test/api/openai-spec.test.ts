import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { deploymentErrorLike } from '../support/deployment-errors.ts'
import { hasOpenAiSpec, openAiValidator } from '../support/openai-spec.ts'
import { sseData, type TestServer, testServer } from '../support/test-server.ts'

const reason = 'OpenAI’s OpenAPI file is not in ../shared/specs'

describe.skipIf(!hasOpenAiSpec)(
  `answers validate against OpenAI’s own schemas (skipped when ${reason})`,
  () => {
    const problems = hasOpenAiSpec ? openAiValidator() : () => null
    let server: TestServer
    beforeEach(() => {
      server = testServer()
    })
    afterEach(() => server.app.close())

    const post = (url: string, payload: object) =>
      server.app.inject({ method: 'POST', url, payload })
    const chatBody = { model: 'fake', messages: [{ role: 'user', content: 'w1 w2' }], seed: 3 }

    it.each([
      {},
      { n: 3, max_tokens: 2 },
      { logprobs: true, top_logprobs: 4 },
      { service_tier: 'auto', return_token_ids: true, prompt_logprobs: 2 },
    ])('chat %j', async (wishes) => {
      const whole = await post('/v1/chat/completions', { ...chatBody, ...wishes })
      expect(problems('CreateChatCompletionResponse', whole.json())).toBeNull()
      if ('prompt_logprobs' in wishes) return
      const streamed = await post('/v1/chat/completions', {
        ...chatBody,
        ...wishes,
        stream: true,
        stream_options: { include_usage: true },
      })
      const chunks = sseData(streamed.body).slice(0, -1)
      expect(chunks.length).toBeGreaterThan(3)
      for (const chunk of chunks) {
        expect(problems('CreateChatCompletionStreamResponse', chunk)).toBeNull()
      }
    })

    it.each([{}, { n: 2, prompt: ['a', 'b'] }, { logprobs: 3 }, { echo: true }])(
      'completions %j',
      async (wishes) => {
        const body = { model: 'fake', prompt: 'w1 w2', ...wishes }
        const whole = await post('/v1/completions', body)
        expect(problems('CreateCompletionResponse', whole.json())).toBeNull()
      },
    )

    it('models', async () => {
      const list = await server.app.inject('/v1/models')
      expect(problems('ListModelsResponse', list.json())).toBeNull()
      expect(problems('Model', (await server.app.inject('/v1/models/fake')).json())).toBeNull()
    })

    it('errors of every kind', async () => {
      const bodies = [{}, { ...chatBody, n: 0 }, { ...chatBody, model: 'x' }, { ...chatBody, x: 1 }]
      for (const body of bodies) {
        const response = await post('/v1/chat/completions', body)
        expect(problems('ErrorResponse', response.json())).toBeNull()
      }
      server.deployments.script.refusal = deploymentErrorLike('overloaded')
      expect(
        problems('ErrorResponse', (await post('/v1/chat/completions', chatBody)).json()),
      ).toBeNull()
      expect(problems('ErrorResponse', (await server.app.inject('/nope')).json())).toBeNull()
    })

    it('the validator itself refuses what is wrong', () => {
      expect(problems('CreateChatCompletionResponse', { id: 7 })).not.toBeNull()
      expect(problems('ErrorResponse', { error: 'text' })).not.toBeNull()
    })

    it('every parameter that OpenAI defines is honoured, neutral or refused by name', async () => {
      const names = await parameterNames(server)
      const known = ['messages', 'temperature', 'tools', 'response_format', 'web_search_options']
      expect(names.chat).toEqual(expect.arrayContaining(known))
      for (const [url, of, base] of [
        ['/v1/chat/completions', names.chat, chatBody],
        ['/v1/completions', names.completions, { model: 'fake', prompt: 'w1' }],
      ] as const) {
        for (const name of of) {
          const response = await post(url, { ...base, [name]: { surprise: true } })
          expect([name, response.statusCode]).toEqual([name, 400])
          const { param, code } = response.json().error
          expect(param.startsWith(name), `${param} for ${name}`).toBe(true)
          // An unknown name inside of an honoured parameter is all right, the parameter itself is not.
          if (param === name) expect([name, code]).not.toEqual([name, 'unknown_parameter'])
        }
      }
    })
  },
)

/** Names of both request schemas, whatever way the file composes them. */
async function parameterNames(server: TestServer) {
  const { readFileSync } = await import('node:fs')
  const file = new URL('../../../shared/specs/openai-openapi.json', import.meta.url)
  const { schemas } = JSON.parse(readFileSync(file, 'utf8')).components
  const collect = (schema: Record<string, unknown>): string[] => {
    const {
      $ref,
      allOf = [],
      properties = {},
    } = schema as {
      $ref?: string
      allOf?: Record<string, unknown>[]
      properties?: object
    }
    const referred = $ref === undefined ? [] : collect(schemas[$ref.split('/').at(-1) as string])
    return [...referred, ...allOf.flatMap(collect), ...Object.keys(properties)]
  }
  expect(server).toBeDefined()
  return {
    chat: [...new Set(collect(schemas.CreateChatCompletionRequest))],
    completions: [...new Set(collect(schemas.CreateCompletionRequest))],
  }
}
