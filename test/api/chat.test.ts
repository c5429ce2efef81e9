import { afterEach, describe, expect, it } from 'vitest'
import { fakeText, NATURAL_LENGTH } from '../support/fake-deployments.ts'
import { sseData, type TestServer, testServer } from '../support/test-server.ts'

let server: TestServer
afterEach(() => server.app.close())

const messages = [{ role: 'user', content: 'w1 w2 w3' }]

async function chat(body: object) {
  const payload = { model: 'fake-model', messages, seed: 5, ...body }
  return server.app.inject({ method: 'POST', url: '/v1/chat/completions', payload })
}

interface Chunk {
  id: string
  created: number
  object: string
  system_fingerprint: string
  choices: {
    index: number
    delta: { role?: string; content?: string }
    logprobs: { content: object[] } | null
    finish_reason: string | null
    token_ids?: number[]
    prompt_token_ids?: number[]
  }[]
  usage?: object | null
  prompt_token_ids?: number[]
}

describe('a whole answer', () => {
  it('has OpenAI’s shape', async () => {
    server = testServer()
    const response = await chat({ max_tokens: 2 })
    expect(response.statusCode).toBe(200)
    expect(response.json()).toEqual({
      id: expect.stringMatching(/^chatcmpl-[0-9a-f]{32}$/),
      object: 'chat.completion',
      created: expect.any(Number),
      model: 'fake-model',
      system_fingerprint: 'fp_fake',
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: ' w5 w12', refusal: null },
          logprobs: null,
          finish_reason: 'length',
        },
      ],
      usage: {
        prompt_tokens: 3,
        completion_tokens: 2,
        total_tokens: 5,
        prompt_tokens_details: { cached_tokens: 0 },
        completion_tokens_details: {
          reasoning_tokens: 0,
          accepted_prediction_tokens: 0,
          rejected_prediction_tokens: 0,
        },
      },
    })
  })

  it('carries logprobs with JSON’s smallest number for an impossible token', async () => {
    server = testServer()
    const { choices } = (await chat({ max_tokens: 2, logprobs: true, top_logprobs: 1 })).json()
    const w5 = { token: ' w5', logprob: -0.5, bytes: [32, 119, 53] }
    const w12 = { token: ' w12', bytes: [32, 119, 49, 50] }
    expect(choices[0].logprobs).toEqual({
      content: [
        { ...w5, top_logprobs: [w5] },
        { ...w12, logprob: -9999, top_logprobs: [{ ...w12, logprob: -0.5 }] },
      ],
      refusal: null,
    })
  })

  it('gives token ids and prompt logprobs where vLLM has them', async () => {
    server = testServer()
    const body = (await chat({ max_tokens: 1, return_token_ids: true, prompt_logprobs: 1 })).json()
    expect(body.prompt_token_ids).toEqual([1, 2, 3])
    expect(body.choices[0]).toMatchObject({ prompt_token_ids: [1, 2, 3], token_ids: [5] })
    expect(body.prompt_logprobs).toEqual([
      null,
      { 2: { logprob: -9999, rank: 1, decoded_token: ' w2' } },
      { 3: { logprob: -0.5, rank: 1, decoded_token: ' w3' } },
    ])
  })

  it('answers n choices, each with its own text', async () => {
    server = testServer()
    const { choices, usage } = (await chat({ n: 3 })).json()
    const texts = choices.map((one: { message: { content: string } }) => one.message.content)
    expect(texts).toEqual([fakeText(5, 0), fakeText(5, 1), fakeText(5, 2)])
    expect(usage.completion_tokens).toBe(3 * NATURAL_LENGTH)
  })

  it('names the tier that served when one was asked for', async () => {
    server = testServer()
  })
})

describe('a streamed answer', () => {
  it('comes in OpenAI’s order: roles, deltas, finish reasons, usage, [DONE]', async () => {
    server = testServer()
    const response = await chat({
      stream: true,
      n: 2,
      max_tokens: 1,
      stream_options: { include_usage: true },
    })
    const data = sseData(response.body)
    expect(data.pop()).toBe('[DONE]')
    const chunks = data as Chunk[]
    expect(
      new Set(chunks.map(({ id, created, object }) => `${id} ${created} ${object}`)).size,
    ).toBe(1)
    const last = chunks.pop() as Chunk
    expect(last).toMatchObject({ choices: [], usage: { prompt_tokens: 3, completion_tokens: 2 } })
    expect(chunks.every(({ usage }) => usage === null)).toBe(true)
    const role = { role: 'assistant', content: '', refusal: null }
    const open = { logprobs: null, finish_reason: null }
    expect(chunks.map(({ choices }) => choices)).toEqual([
      [{ index: 0, delta: role, ...open }],
      [{ index: 1, delta: role, ...open }],
      [{ index: 0, delta: { content: ' w5' }, ...open }],
      [{ index: 1, delta: { content: ' w36' }, ...open }],
      [{ index: 0, delta: {}, logprobs: null, finish_reason: 'length' }],
      [{ index: 1, delta: {}, logprobs: null, finish_reason: 'length' }],
    ])
  })

  it('has no usage at all unless it is asked for', async () => {
    server = testServer()
    const chunks = sseData((await chat({ stream: true })).body).slice(0, -1) as Chunk[]
    expect(chunks.every((chunk) => !('usage' in chunk) && chunk.choices.length === 1)).toBe(true)
  })

  it.each([
    {},
    { n: 3 },
    { n: 2, logprobs: true, top_logprobs: 2 },
    { return_token_ids: true },
    { stop: ['w26', 'zzz'], n: 2 },
    { max_completion_tokens: 3, temperature: 0 },
  ])('put together equals the whole answer: %j', async (wishes) => {
    server = testServer({ script: { pieces: [' a', '', 'bc', '', '', ' d', 'é', ' w26 e'] } })
    const whole = (await chat(wishes)).json()
    const streamed = await chat({
      ...wishes,
      stream: true,
      stream_options: { include_usage: true },
    })
    const chunks = sseData(streamed.body).slice(0, -1) as Chunk[]
    const choices = whole.choices.map(({ index }: { index: number }) => {
      const parts = chunks.flatMap((chunk) => chunk.choices).filter((one) => one.index === index)
      const content = parts.map(({ delta }) => delta.content ?? '').join('')
      const logprobs = parts.flatMap((one) => one.logprobs?.content ?? [])
      const hasIds = 'return_token_ids' in wishes
      return {
        index,
        message: { role: 'assistant', content, refusal: null },
        logprobs: 'logprobs' in wishes ? { content: logprobs, refusal: null } : null,
        finish_reason: parts.at(-1)?.finish_reason,
        ...(hasIds
          ? {
              prompt_token_ids: parts[0]?.prompt_token_ids,
              token_ids: parts.flatMap((one) => one.token_ids ?? []),
            }
          : {}),
      }
    })
    expect(choices).toEqual(whole.choices)
    expect(chunks.at(-1)?.usage).toEqual(whole.usage)
    expect(chunks[0]?.prompt_token_ids).toEqual(whole.prompt_token_ids)
  })

  it('sends no chunk for a token whose text is held back', async () => {
    server = testServer({ script: { pieces: ['', '', 'é'], naturalLength: 3 } })
    const chunks = sseData((await chat({ stream: true })).body).slice(0, -1) as Chunk[]
    expect(chunks.map(({ choices }) => choices[0]?.delta.content)).toEqual(['', 'é', undefined])
  })
})

describe('what reaches the deployment', () => {
  it('is the canonical request, whatever the dialect called it', async () => {
    server = testServer()
    await chat({
      messages: [
        {
          role: 'developer',
          content: [
            { type: 'text', text: 'a' },
            { type: 'text', text: 'b' },
          ],
        },
        { role: 'user', content: 'hello', name: 'Ada' },
        { role: 'assistant', content: 'hi', refusal: null, annotations: [], tool_calls: null },
        { role: 'tool', content: '7', tool_call_id: 'call_1' },
      ],
      temperature: 0.5,
      top_p: 0,
      top_k: -1,
      min_p: 0.1,
      presence_penalty: 1,
      frequency_penalty: -1,
      repetition_penalty: 1.1,
      max_completion_tokens: 7,
      min_tokens: 2,
      ignore_eos: true,
      stop: 'END',
      logit_bias: { 17: -100, 3: 5 },
      logprobs: true,
      top_logprobs: 20,
      n: 2,
      user: 'someone',
    })
    expect(server.deployments.requests).toEqual([
      {
        id: expect.stringMatching(/^chatcmpl-/),
        requestedModel: 'fake-model',
        principal: 'local',
        input: {
          kind: 'chat',
          messages: [
            { role: 'developer', content: 'a\nb' },
            { role: 'user', content: 'hello', name: 'Ada' },
            { role: 'assistant', content: 'hi' },
            { role: 'tool', content: '7', toolCallId: 'call_1' },
          ],
          tools: null,
        },
        seed: 5n,
        maxTokens: 7,
        cacheSalt: null,
        cacheKey: null,
        serviceTier: 'default',
        maxQueueMs: null,
        routing: null,
        coldStartWaitMs: null,
        numChoices: 2,
        stop: ['END'],
        sampling: {
          temperature: 0.5,
          topP: 1e-6,
          topK: 0,
          minP: 0.1,
          presencePenalty: 1,
          frequencyPenalty: -1,
          repetitionPenalty: 1.1,
          minTokens: 2,
          ignoreEos: true,
          stopTokenIds: [],
          logitBias: [
            [3, 5],
            [17, -100],
          ],
          topLogprobs: 20,
          promptLogprobs: null,
        },
      },
    ])
  })

  it('hands the cache salt on, and reports what was found in the cache', async () => {
    server = testServer()
    server.deployments.script.cachedPromptTokens = 1
    const response = await chat({ cache_salt: 'tenant-7' })
    expect(server.deployments.requests[0]?.cacheSalt).toBe('tenant-7')
    expect(response.json().usage.prompt_tokens_details).toEqual({ cached_tokens: 1 })
    expect(server.audit.records[0]).toMatchObject({ cachedPromptTokens: 1, cacheStatus: 'hit' })
    expect(JSON.stringify(server.audit.entries)).not.toContain('tenant-7')
    const metrics = await server.app.inject({ method: 'GET', url: '/metrics' })
    expect(metrics.body).toContain('vllm:prefix_cache_hits_total{model_name="fake-model"} 1')
  })

  it('says how many guessed tokens were right and wrong', async () => {
    server = testServer()
    server.deployments.script.drafts = { accepted: 5, rejected: 2 }
    expect((await chat({})).json().usage.completion_tokens_details).toEqual({
      reasoning_tokens: 0,
      accepted_prediction_tokens: 5,
      rejected_prediction_tokens: 2,
    })
  })

  it('hands prompt_cache_key on, and records what stands for it, not its text', async () => {
    server = testServer()
    await chat({ prompt_cache_key: 'user-77' })
    expect(server.deployments.requests[0]?.cacheKey).toBe('user-77')
    expect(server.audit.records[0]?.cacheKey).toMatch(/^[0-9a-f]{16}$/)
    expect(JSON.stringify(server.audit.entries)).not.toContain('user-77')
  })

  it.each([
    ['auto', 'default'],
    ['default', 'default'],
    ['on_demand', 'default'],
    ['flex', 'flex'],
    ['priority', 'priority'],
    ['performance', 'priority'],
  ])('service tier %s is served as %s, and both are said', async (asked, served) => {
    server = testServer()
    const response = await chat({ service_tier: asked, max_queue_ms: 1500 })
    expect(response.json()).toMatchObject({ service_tier: served, requested_service_tier: asked })
    expect(server.deployments.requests[0]).toMatchObject({ serviceTier: served, maxQueueMs: 1500 })
    const tiers = { serviceTier: served, requestedServiceTier: asked }
    expect(server.audit.records[0]).toMatchObject(tiers)
  })

  it('takes null for "not given" in every optional field', async () => {
    server = testServer()
    const names = ['temperature', 'top_p', 'top_k', 'min_p', 'presence_penalty', 'stop', 'n']
    names.push('frequency_penalty', 'repetition_penalty', 'max_tokens', 'max_completion_tokens')
    names.push('min_tokens', 'ignore_eos', 'logit_bias', 'logprobs', 'top_logprobs', 'stream')
    names.push('stream_options', 'return_token_ids', 'prompt_logprobs', 'user', 'tools', 'store')
    names.push(
      'max_queue_ms',
      'cache_salt',
      'prompt_cache_key',
      'response_format',
      'modalities',
      'metadata',
      'service_tier',
      'audio',
      'prediction',
    )
    const response = await chat(Object.fromEntries(names.map((name) => [name, null])))
    expect(response.statusCode).toBe(200)
    expect(server.deployments.requests[0]).toMatchObject({
      maxTokens: null,
      numChoices: 1,
      stop: [],
      cacheSalt: null,
      cacheKey: null,
      serviceTier: 'default',
      maxQueueMs: null,
      routing: null,
      coldStartWaitMs: null,
      sampling: { temperature: 1, topP: 1, topK: 0, topLogprobs: null },
    })
  })

  it.each([
    [-1, 2n ** 64n - 1n],
    [0, 0n],
    [2 ** 53 - 1, 2n ** 53n - 1n],
    ['18446744073709551615', 2n ** 64n - 1n],
    ['-9223372036854775808', 2n ** 63n],
  ])('seed %s is the 64 bits %s', async (seed, expected) => {
    server = testServer()
    await chat({ seed })
    expect(server.deployments.requests[0]?.seed).toBe(expected)
  })

  it('draws a seed that fits a JSON number when none is given, and another one each time', async () => {
    server = testServer()
    await chat({ seed: null })
    await chat({ seed: null })
    const [first, second] = server.deployments.requests.map(({ seed }) => seed as bigint)
    expect(first).not.toBe(second)
    expect((first as bigint) < 2n ** 53n).toBe(true)
    expect(server.audit.records[0]?.seed).toBe(String(first))
  })

  it('knows a caller by the digest of its token only', async () => {
    server = testServer()
    await server.app.inject({
      method: 'POST',
      url: '/v1/chat/completions',
      headers: { authorization: 'Bearer sk-secret' },
      payload: { model: 'fake', messages },
    })
    const principal = server.deployments.requests[0]?.principal
    expect(principal).toMatch(/^key:[0-9a-f]{32}$/)
    expect(server.audit.records[0]?.principal).toBe(principal)
    expect(JSON.stringify(server.audit.entries)).not.toContain('sk-secret')
  })
})
