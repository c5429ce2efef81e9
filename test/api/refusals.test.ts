import { afterEach, describe, expect, it } from 'vitest'
import { reviveServingError, type ServingError } from '../../src/base/errors.ts'
import { queueTimeout, refuseLongWait } from '../../src/engine/wait-estimate.ts'
import { type TestServer, testServer } from '../support/test-server.ts'

let server: TestServer
afterEach(() => server.app.close())

const chatBody = { model: 'fake', messages: [{ role: 'user', content: 'w1' }] }
const completionsBody = { model: 'fake', prompt: 'w1' }

async function post(url: string, payload: object) {
  const response = await server.app.inject({ method: 'POST', url, payload })
  return { status: response.statusCode, headers: response.headers, body: response.json() }
}
const chat = (body: object) => post('/v1/chat/completions', { ...chatBody, ...body })
const complete = (body: object) => post('/v1/completions', { ...completionsBody, ...body })

type Refusal = [param: string, body: object, code: string]

describe('a chat request is refused by the parameter’s name', () => {
  const message = (content: unknown, extra: object = {}) => ({
    messages: [
      { role: 'user', content: 'x' },
      { role: 'user', content, ...extra },
    ],
  })
  const invalid = 'invalid_value'
  const type = 'invalid_type'
  const missing = 'missing_required_parameter'
  const unknown = 'unknown_parameter'
  const unsupported = 'unsupported_parameter'
  const cases: Refusal[] = [
    ['model', { model: undefined }, missing],
    ['model', { model: 7 }, type],
    ['messages', { messages: undefined }, missing],
    ['messages', { messages: [] }, invalid],
    ['messages', { messages: 'hello' }, type],
    ['messages[0]', { messages: ['hello'] }, type],
    ['messages[0].role', { messages: [{ content: 'x' }] }, missing],
    ['messages[0].role', { messages: [{ role: 'function', content: 'x' }] }, invalid],
    ['messages[1].content', message(undefined), missing],
    ['messages[1].content', message(null), missing],
    ['messages[1].content', message(5), type],
    ['messages[1].content', message([]), type],
    ['messages[1].content[0].type', message([{ type: 'image_url', image_url: {} }]), invalid],
    [
      'messages[1].content[1].type',
      message([{ type: 'text', text: 'a' }, { type: 'input_audio' }]),
      invalid,
    ],
    ['messages[1].content[0].text', message([{ type: 'text' }]), invalid],
    [
      'messages[1].content[0].cache_control',
      message([{ type: 'text', text: 'a', cache_control: {} }]),
      unknown,
    ],
    ['messages[1].nickname', message('x', { nickname: 'y' }), unknown],
    ['messages[1].tool_calls', message('x', { tool_calls: [{}] }), unsupported],
    ['messages[1].function_call', message('x', { function_call: { name: 'f' } }), unsupported],
    ['messages[1].tool_call_id', message('x', { tool_call_id: 'c' }), invalid],
    ['temperature', { temperature: 2.1 }, invalid],
    ['temperature', { temperature: -0.1 }, invalid],
    ['temperature', { temperature: '1' }, type],
    ['temperature', { temperature: true }, type],
    ['top_p', { top_p: 1.01 }, invalid],
    ['top_k', { top_k: -2 }, invalid],
    ['top_k', { top_k: 1.5 }, type],
    ['min_p', { min_p: 1.5 }, invalid],
    ['presence_penalty', { presence_penalty: 3 }, invalid],
    ['frequency_penalty', { frequency_penalty: -2.5 }, invalid],
    ['repetition_penalty', { repetition_penalty: 0 }, invalid],
    ['n', { n: 0 }, invalid],
    ['n', { n: 129 }, invalid],
    ['max_tokens', { max_tokens: 0 }, invalid],
    ['max_tokens', { max_tokens: 3, max_completion_tokens: 4 }, invalid],
    ['max_completion_tokens', { max_completion_tokens: 1e12 }, invalid],
    ['min_tokens', { min_tokens: 5, max_tokens: 4 }, invalid],
    ['seed', { seed: 2 ** 53 }, invalid],
    ['seed', { seed: 1.5 }, type],
    ['seed', { seed: '18446744073709551616' }, invalid],
    ['seed', { seed: '0x10' }, invalid],
    ['seed', { seed: '' }, invalid],
    ['stop', { stop: '' }, type],
    ['stop', { stop: ['a', 'b', 'c', 'd', 'e'] }, type],
    ['stop', { stop: [1] }, type],
    ['logit_bias', { logit_bias: { cat: 1 } }, invalid],
    ['logit_bias', { logit_bias: { 1000: 1 } }, invalid],
    ['logit_bias[5]', { logit_bias: { 5: 101 } }, invalid],
    ['logit_bias[5]', { logit_bias: { 5: 'x' } }, type],
    ['logprobs', { logprobs: 3 }, type],
    ['top_logprobs', { logprobs: true, top_logprobs: 21 }, invalid],
    ['top_logprobs', { top_logprobs: 2 }, invalid],
    ['prompt_logprobs', { prompt_logprobs: -1 }, invalid],
    ['prompt_logprobs', { prompt_logprobs: 1, stream: true }, invalid],
    ['stream', { stream: 'yes' }, type],
    ['stream_options', { stream_options: { include_usage: true } }, invalid],
    [
      'stream_options.include_obfuscation',
      { stream: true, stream_options: { include_obfuscation: true } },
      unsupported,
    ],
    [
      'stream_options.continuous_usage_stats',
      { stream: true, stream_options: { continuous_usage_stats: true } },
      unknown,
    ],
    ['ignore_eos', { ignore_eos: 1 }, type],
    ['return_token_ids', { return_token_ids: 'true' }, type],
    ['best_of', { best_of: 2 }, unknown],
    ['guided_json', { guided_json: {} }, unknown],
    ['tools', { tools: [{ type: 'function', function: { name: 'f' } }] }, unsupported],
    ['tool_choice', { tool_choice: 'required' }, unsupported],
    ['functions', { functions: [{ name: 'f' }] }, unsupported],
    ['function_call', { function_call: { name: 'f' } }, unsupported],
    ['response_format', { response_format: { type: 'json_object' } }, unsupported],
    ['response_format', { response_format: { type: 'text', strict: true } }, unsupported],
    ['modalities', { modalities: ['text', 'audio'] }, unsupported],
    ['audio', { audio: { voice: 'alloy', format: 'mp3' } }, unsupported],
    ['prediction', { prediction: { type: 'content', content: 'x' } }, unsupported],
    ['web_search_options', { web_search_options: {} }, unsupported],
    ['moderation', { moderation: {} }, unsupported],
    ['store', { store: true }, unsupported],
    ['metadata', { metadata: { a: 1 } }, unsupported],
    ['service_tier', { service_tier: 'scale' }, invalid],
    ['max_queue_ms', { max_queue_ms: -1 }, invalid],
    ['verbosity', { verbosity: 'low' }, unsupported],
    ['reasoning_effort', { reasoning_effort: 'high' }, unsupported],
    ['prompt_cache_retention', { prompt_cache_retention: '24h' }, unsupported],
    ['user', { user: 7 }, unsupported],
  ]
  it.each(cases)('%s in %j', async (param, body, code) => {
    server = testServer()
    const { status, body: answer } = await chat(body)
    expect({ status, ...answer.error }).toEqual({
      status: 400,
      message: expect.stringContaining(param),
      type: 'invalid_request_error',
      param,
      code,
    })
    expect(server.deployments.requests).toEqual([])
  })

  it('and neutral values of what is not supported are accepted', async () => {
    server = testServer()
    const { status } = await chat({
      tools: [],
      tool_choice: 'auto',
      parallel_tool_calls: false,
      functions: [],
      function_call: 'none',
      response_format: { type: 'text' },
      modalities: ['text'],
      store: false,
      metadata: { trace: 'a' },
      service_tier: 'default',
      user: 'u',
      safety_identifier: 's',
      prompt_cache_retention: 'in_memory',
      verbosity: 'medium',
      reasoning_effort: 'none',
      n: 1,
      stop: [],
      cache_salt: null,
      logit_bias: {},
      top_logprobs: 0,
    })
    expect(status).toBe(200)
  })
})

describe('a request that would wait too long', () => {
  it.each([
    [() => refusalOf(() => refuseLongWait(4200, 1500)), 'max_queue_ms', '3'],
    [() => queueTimeout(1500, 2500), null, '3'],
  ])('is refused with the seconds of the engine’s own prediction', async (made, param, seconds) => {
    // As it comes from another process.
    const refusal = reviveServingError(made().toWire())
    server = testServer({ script: { refusal } })
    const { status, headers, body } = await chat({ max_queue_ms: 1500 })
    expect([status, headers['retry-after'], body.error.param]).toEqual([429, seconds, param])
    expect(body.error.code).toBe('rate_limit_exceeded')
  })
})

function refusalOf(call: () => void): ServingError {
  try {
    call()
  } catch (error) {
    return error as ServingError
  }
  throw new Error('it was let in')
}

describe('a completions request is refused by the parameter’s name', () => {
  const cases: Refusal[] = [
    ['prompt', { prompt: undefined }, 'missing_required_parameter'],
    ['prompt', { prompt: null }, 'invalid_type'],
    ['prompt', { prompt: [] }, 'invalid_type'],
    ['prompt', { prompt: ['a', 1] }, 'invalid_type'],
    ['prompt', { prompt: [[]] }, 'invalid_type'],
    ['prompt', { prompt: [-1] }, 'invalid_type'],
    ['prompt', { prompt: Array.from({ length: 129 }, () => 'a') }, 'invalid_type'],
    ['prompt[1]', { prompt: [1, 1000] }, 'invalid_value'],
    ['prompt[1][0]', { prompt: [[1], [1000]] }, 'invalid_value'],
    ['n', { prompt: ['a', 'b'], n: 65 }, 'invalid_value'],
    ['logprobs', { logprobs: 6 }, 'invalid_value'],
    ['logprobs', { logprobs: true }, 'invalid_type'],
    ['best_of', { best_of: 3, n: 2 }, 'unsupported_parameter'],
    ['suffix', { suffix: 'end' }, 'unsupported_parameter'],
    ['max_completion_tokens', { max_completion_tokens: 3 }, 'unknown_parameter'],
    ['max_tokens', { max_tokens: -1 }, 'invalid_value'],
    ['echo', { echo: 'yes' }, 'invalid_type'],
    // Otherwise 7 and 007 would be two wishes for one token.
    ['logit_bias', { logit_bias: { '7': 1, '007': -1 } }, 'invalid_value'],
  ]
  it.each(cases)('%s in %j', async (param, body, code) => {
    server = testServer()
    const { status, body: answer } = await complete(body)
    expect({ status, param: answer.error.param, code: answer.error.code }).toEqual({
      status: 400,
      param,
      code,
    })
  })

  it('an integer that is too large is told the limit', async () => {
    server = testServer()
    const { body } = await complete({ max_tokens: 2 ** 40 })
    expect(body.error.message).toContain('from 0 to 2147483647, but got 1099511627776')
  })

  it('and best_of = n, suffix "" are accepted', async () => {
    server = testServer()
    expect((await complete({ best_of: 2, n: 2, suffix: '' })).status).toBe(200)
  })
})

describe('bodies and routes', () => {
  const headers = { 'content-type': 'application/json' }
  const raw = (body: string | Buffer, extra: Record<string, string> = {}) =>
    server.app.inject({
      method: 'POST',
      url: '/v1/chat/completions',
      headers: { ...headers, ...extra },
      payload: body,
    })

  it.each([
    ['broken JSON', '{"model":'],
    ['no JSON', 'hello'],
    ['nothing', ''],
    ['an array', '[]'],
    ['a number', '7'],
    ['null', 'null'],
    ['a __proto__ key', '{"__proto__": {"x": 1}}'],
    [
      'a byte that is no UTF-8',
      Buffer.from(JSON.stringify(chatBody).replace('w1', '\xff'), 'latin1'),
    ],
  ])('%s is 400 invalid_json', async (_what, body) => {
    server = testServer()
    const response = await raw(body)
    expect(response.statusCode).toBe(400)
    expect(response.json().error).toMatchObject({
      type: 'invalid_request_error',
      code: 'invalid_json',
    })
  })

  it('a body beyond the limit is 413, which the message names', async () => {
    server = testServer({ config: { maxBodyBytes: 100 } })
    const response = await raw(JSON.stringify({ model: 'x'.repeat(200) }))
    expect(response.statusCode).toBe(413)
    expect(response.json().error).toMatchObject({ code: 'request_too_large' })
    expect(response.json().error.message).toContain('100 bytes')
  })

  it.each([
    { 'content-type': 'text/plain' },
    { 'content-type': 'application/xml' },
    { 'content-encoding': 'gzip' },
  ])('%j is 415', async (extra) => {
    server = testServer()
    const response = await raw('{}', extra as Record<string, string>)
    expect(response.statusCode).toBe(415)
    expect(response.json().error.code).toBe('unsupported_media_type')
  })

  it('an unknown route is 404 unknown_url, a wrong method 405 with Allow', async () => {
    server = testServer()
    const unknown = await server.app.inject('/v1/embeddings?x=1')
    expect([unknown.statusCode, unknown.json().error.code]).toEqual([404, 'unknown_url'])
    expect(unknown.json().error.message).toContain('GET /v1/embeddings;')
    const wrong = await server.app.inject('/v1/completions')
    expect([wrong.statusCode, wrong.headers.allow]).toEqual([405, 'POST'])
    expect(wrong.json().error.code).toBe('method_not_allowed')
    const model = await server.app.inject({ method: 'DELETE', url: '/v1/models/fake' })
    expect(model.statusCode).toBe(405)
  })

  it('a URL that cannot be decoded is 400 with a request id', async () => {
    server = testServer()
    const response = await server.app.inject('/v1/models/%zz')
    expect([response.statusCode, response.json().error.code]).toEqual([400, 'invalid_url'])
    expect(response.headers['x-request-id']).toMatch(/^req_/)
  })

  it('an unknown model is 404 model_not_found on every route', async () => {
    server = testServer()
    const error = { type: 'invalid_request_error', param: 'model', code: 'model_not_found' }
    expect(await chat({ model: 'nope' })).toMatchObject({ status: 404, body: { error } })
    expect(await complete({ model: 'nope' })).toMatchObject({ status: 404, body: { error } })
    const one = await server.app.inject('/v1/models/nope')
    expect([one.statusCode, one.json().error.code]).toEqual([404, 'model_not_found'])
  })
})
