import { afterEach, describe, expect, it } from 'vitest'
import { fakeText } from '../support/fake-deployments.ts'
import { sseData, type TestServer, testServer } from '../support/test-server.ts'

let server: TestServer
afterEach(() => server.app.close())

async function complete(body: object) {
  const payload = { model: 'fake-model', prompt: 'w1 w2', seed: 5, ...body }
  return server.app.inject({ method: 'POST', url: '/v1/completions', payload })
}

interface Logprobs {
  tokens: string[]
  token_logprobs: (number | null)[]
  top_logprobs: (object | null)[]
  text_offset: number[]
}

interface Part {
  index: number
  text: string
  logprobs: Logprobs | null
  finish_reason: string | null
  prompt_token_ids?: number[]
  token_ids?: number[]
}

describe('prompts', () => {
  it.each([
    ['a text', 'w1 w2', [{ kind: 'text', text: 'w1 w2' }]],
    [
      'texts',
      ['w1', ''],
      [
        { kind: 'text', text: 'w1' },
        { kind: 'text', text: '' },
      ],
    ],
    ['token ids', [7, 0, 999], [{ kind: 'tokens', tokenIds: [7, 0, 999] }]],
    [
      'lists of token ids',
      [[1], [2, 3]],
      [
        { kind: 'tokens', tokenIds: [1] },
        { kind: 'tokens', tokenIds: [2, 3] },
      ],
    ],
  ])('can be %s', async (_what, prompt, inputs) => {
    server = testServer()
    expect((await complete({ prompt })).statusCode).toBe(200)
    expect(server.deployments.requests.map(({ input }) => input)).toEqual(inputs)
  })

  it('several prompts times n are numbered through, under one id, with one sum of usage', async () => {
    server = testServer()
    const body = (await complete({ prompt: ['w1', 'w2 w3'], n: 2, max_tokens: 1 })).json()
    expect(body).toMatchObject({ object: 'text_completion', id: expect.stringMatching(/^cmpl-/) })
    expect(body.choices.map(({ index, text }: Part) => [index, text])).toEqual([
      [0, ' w5'],
      [1, ' w36'],
      [2, ' w5'],
      [3, ' w36'],
    ])
    expect(body.usage).toMatchObject({ prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 })
    const ids = server.deployments.requests.map(({ id }) => id)
    expect(ids).toEqual([`${body.id}-0`, `${body.id}-1`])
  })

  it('all of a request carry its prompt_cache_key', async () => {
    server = testServer()
    await complete({ prompt: ['w1', 'w2'], prompt_cache_key: 'k' })
    expect(server.deployments.requests.map(({ cacheKey }) => cacheKey)).toEqual(['k', 'k'])
  })

  it('generates 16 tokens unless told otherwise, as OpenAI does', async () => {
    server = testServer({ script: { naturalLength: 100 } })
    const body = (await complete({})).json()
    expect(body.usage.completion_tokens).toBe(16)
    expect(body.choices[0].finish_reason).toBe('length')
  })
})

describe('echo and logprobs', () => {
  it('echo begins the answer with the caller’s own text', async () => {
    server = testServer()
    const body = (await complete({ prompt: '  w1\tw2 ', echo: true, max_tokens: 1 })).json()
    expect(body.choices[0].text).toBe('  w1\tw2  w5')
  })

  it('echo of token ids is their text', async () => {
    server = testServer()
    const body = (await complete({ prompt: [1, 2], echo: true, max_tokens: 1 })).json()
    expect(body.choices[0].text).toBe(' w1 w2 w5')
  })

  it('with logprobs covers the prompt too; nothing predicts its first token', async () => {
    server = testServer()
    const body = (
      await complete({ prompt: ' w1 w2', echo: true, logprobs: 2, max_tokens: 1 })
    ).json()
    expect(body.choices[0].logprobs).toEqual({
      tokens: [' w1', ' w2', ' w5'],
      token_logprobs: [null, -9999, -0.5],
      top_logprobs: [null, { ' w2': -0.5, ' w3': -1.5 }, { ' w5': -0.5, ' w6': -1.5 }],
      text_offset: [0, 3, 6],
    })
  })

  it('max_tokens 0 with echo scores the prompt and shows no answer', async () => {
    server = testServer()
    const body = (
      await complete({
        prompt: ' w1 w2',
        echo: true,
        logprobs: 0,
        max_tokens: 0,
        return_token_ids: true,
      })
    ).json()
    expect(body.choices).toEqual([
      {
        index: 0,
        text: ' w1 w2',
        logprobs: {
          tokens: [' w1', ' w2'],
          token_logprobs: [null, -9999],
          top_logprobs: [null, { ' w2': -9999 }],
          text_offset: [0, 3],
        },
        finish_reason: 'length',
        prompt_token_ids: [1, 2],
        token_ids: [],
      },
    ])
    expect(body.usage).toMatchObject({ prompt_tokens: 2, completion_tokens: 0, total_tokens: 2 })
    expect(server.deployments.requests[0]?.maxTokens).toBe(1)
  })

  it('prompt_logprobs and logprobs keep their own number of alternatives', async () => {
    server = testServer()
    const [choice] = (
      await complete({
        prompt: ' w1 w2',
        echo: true,
        logprobs: 1,
        prompt_logprobs: 3,
        max_tokens: 0,
      })
    ).json().choices
    expect(server.deployments.requests[0]?.sampling.promptLogprobs).toBe(3)
    expect(Object.keys(choice.logprobs.top_logprobs[1])).toHaveLength(1)
    expect(Object.keys(choice.prompt_logprobs[1])).toHaveLength(3)
  })
})

describe('streams', () => {
  it.each([
    {},
    { n: 2, prompt: ['w1 w2', 'w3'] },
    { echo: true, prompt: ['w1 w2', 'w3 w4'] },
    { echo: true, logprobs: 2, n: 2, prompt: [' w1 w2', ' w3'] },
    { logprobs: 1, return_token_ids: true },
    { echo: true, return_token_ids: true, n: 2 },
    { echo: true, logprobs: 1, max_tokens: 0, return_token_ids: true },
    { stop: [' w26'], n: 2 },
  ])('put together equal the whole answer: %j', async (wishes) => {
    server = testServer()
    const whole = (await complete(wishes)).json()
    const streamed = await complete({
      ...wishes,
      stream: true,
      stream_options: { include_usage: true },
    })
    const data = sseData(streamed.body)
    expect(data.pop()).toBe('[DONE]')
    const chunks = data as { choices: Part[]; usage: object | null }[]
    const choices = whole.choices.map(({ index }: Part) => {
      const parts = chunks.flatMap((chunk) => chunk.choices).filter((one) => one.index === index)
      const some = parts.flatMap(({ logprobs }) => logprobs ?? [])
      const hasIds = 'return_token_ids' in wishes
      return {
        index,
        text: parts.map(({ text }) => text).join(''),
        logprobs:
          'logprobs' in wishes
            ? {
                text_offset: some.flatMap((one) => one.text_offset),
                token_logprobs: some.flatMap((one) => one.token_logprobs),
                tokens: some.flatMap((one) => one.tokens),
                top_logprobs: some.flatMap((one) => one.top_logprobs),
              }
            : null,
        finish_reason: parts.at(-1)?.finish_reason,
        ...(hasIds
          ? {
              prompt_token_ids: parts.flatMap((one) => one.prompt_token_ids ?? []),
              token_ids: parts.flatMap((one) => one.token_ids ?? []),
            }
          : {}),
      }
    })
    expect(choices).toEqual(whole.choices)
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: whole.usage })
  })

  it('interleave choices and prompts by index', async () => {
    server = testServer()
    const response = await complete({ prompt: ['w1', 'w2'], n: 2, max_tokens: 2, stream: true })
    const parts = (sseData(response.body).slice(0, -1) as { choices: Part[] }[]).flatMap(
      ({ choices }) => choices,
    )
    const texts = [0, 1, 2, 3].map((index) =>
      parts.filter((one) => one.index === index).map(({ text }) => text),
    )
    const lines = [fakeText(5, 0, 2), fakeText(5, 1, 2)]
    expect(texts.map((one) => one.join(''))).toEqual([...lines, ...lines])
    expect(new Set(parts.slice(0, 4).map(({ index }) => index)).size).toBeGreaterThan(1)
  })
})
