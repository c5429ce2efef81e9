import { afterAll, beforeAll, expect, it } from 'vitest'
import { type SeededRandom, seededRandom } from '../support/seeded-random.ts'
import { type TestServer, testServer } from '../support/test-server.ts'

const SEED = 20261123
const NUM_BODIES = 4000

let server: TestServer
beforeAll(() => {
  server = testServer()
})
afterAll(() => server.app.close())

const valid: { url: string; body: Record<string, unknown> }[] = [
  {
    url: '/v1/chat/completions',
    body: {
      model: 'fake',
      messages: [
        { role: 'system', content: 'be brief' },
        { role: 'user', content: [{ type: 'text', text: 'w1' }], name: 'Ada' },
        { role: 'assistant', content: 'ok', refusal: null, tool_calls: [] },
        { role: 'tool', content: '1', tool_call_id: 'c' },
      ],
      temperature: 0.7,
      top_p: 0.9,
      top_k: 40,
      min_p: 0.05,
      n: 2,
      seed: 7,
      stop: ['a', 'b'],
      logit_bias: { 5: 1.5 },
      logprobs: true,
      top_logprobs: 2,
      max_completion_tokens: 4,
      min_tokens: 1,
      presence_penalty: 0.5,
      frequency_penalty: 0.5,
      repetition_penalty: 1.2,
      ignore_eos: false,
      return_token_ids: true,
      prompt_logprobs: 1,
      user: 'u',
      metadata: { a: 'b' },
      response_format: { type: 'text' },
      tools: [],
    },
  },
  {
    url: '/v1/chat/completions',
    body: {
      model: 'org/fake',
      messages: [{ role: 'user', content: 'w1' }],
      stream: true,
      stream_options: { include_usage: true },
      max_tokens: 3,
    },
  },
  {
    url: '/v1/completions',
    body: { model: 'fake', prompt: ['w1', 'w2'], echo: true, logprobs: 2, n: 2, max_tokens: 0 },
  },
  {
    url: '/v1/completions',
    body: { model: 'fake', prompt: [[1, 2], [3]], stream: true, best_of: 1, suffix: '', seed: '9' },
  },
]

const STRANGE: unknown[] = [
  null,
  true,
  false,
  0,
  -1,
  1e308,
  -1e308,
  0.1,
  2 ** 53,
  2 ** 31,
  128,
  '',
  'x',
  '\ud800',
  '\u0000',
  '💥'.repeat(50),
  '__proto__',
  'constructor',
  [],
  [[]],
  [null],
  [1, 'a'],
  {},
  { type: 'text' },
  { $ref: '#' },
  { length: 3 },
  { toString: 1 },
  Array.from({ length: 200 }, (_, index) => index),
]

const NAMES = [
  'toString',
  'hasOwnProperty',
  'constructor',
  '',
  '0',
  'a.b',
  'tools',
  'model',
  'messages',
  '\u2028',
  'stream_options',
  'top_logprobs',
]

function pick<T>(random: SeededRandom, list: readonly T[]): T {
  return list[random.below(list.length)] as T
}

/** Change one place of a deep copy: replace, delete, add, double or wrap. */
function mutate(random: SeededRandom, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || random.next() < 0.25) {
    return random.next() < 0.15 ? [value] : pick(random, STRANGE)
  }
  const copy = structuredClone(value) as Record<string, unknown> | unknown[]
  const keys = Object.keys(copy)
  const act = random.next()
  if (act < 0.15 && !Array.isArray(copy)) {
    copy[pick(random, NAMES)] = pick(random, STRANGE)
    return copy
  }
  if (keys.length === 0) return pick(random, STRANGE)
  const key = pick(random, keys)
  const slot = copy as Record<string, unknown>
  if (act < 0.3) {
    if (Array.isArray(copy)) copy.splice(Number(key), 1)
    else delete slot[key]
  } else if (act < 0.35 && Array.isArray(copy)) {
    copy.push(structuredClone(slot[key]))
  } else {
    slot[key] = mutate(random, slot[key])
  }
  return copy
}

/** Break the text of a body: cut, flip, double a part. */
function garble(random: SeededRandom, json: string): string {
  const at = random.below(json.length)
  const act = random.below(3)
  if (act === 0) return json.slice(0, at)
  if (act === 1)
    return `${json.slice(0, at)}${pick(random, ['"', '}', ']', ',', '\\', '\u0007', '1e999', 'NaN'])}${json.slice(at + 1)}`
  return json.slice(0, at) + json.slice(random.below(at + 1))
}

it(`no mutated body is answered with a 5xx or outside the error shape (seed ${SEED})`, {
  timeout: 120_000,
}, async () => {
  const random = seededRandom(SEED)
  const seen = new Map<number, number>()
  let numParsed = 0
  for (let round = 0; round < NUM_BODIES; round += 1) {
    const { url, body } = pick(random, valid)
    let mutated: unknown = body
    for (let times = random.below(4); times > 0; times -= 1) mutated = mutate(random, mutated)
    const json = JSON.stringify(mutated) ?? 'null'
    const payload = random.next() < 0.1 ? garble(random, json) : json
    const headers = { 'content-type': 'application/json' }
    const response = await server.app.inject({ method: 'POST', url, headers, payload })
    const { statusCode } = response
    const what = `round ${round}: ${statusCode} for ${payload.slice(0, 500)}`
    seen.set(statusCode, (seen.get(statusCode) ?? 0) + 1)
    expect([200, 400, 404], what).toContain(statusCode)
    expect(response.headers['x-request-id'], what).toBeDefined()
    if (statusCode !== 200) {
      const { error } = response.json()
      expect(Object.keys(error).sort(), what).toEqual(['code', 'message', 'param', 'type'])
      expect(error.message.length, what).toBeLessThan(600)
      expect(error.type, what).toBe('invalid_request_error')
      expect(typeof error.code, what).toBe('string')
      if (error.code !== 'invalid_json') numParsed += 1
    } else {
      numParsed += 1
      const isWhole = response.headers['content-type']?.toString().startsWith('application/json')
      if (isWhole === true) expect(response.json().choices.length, what).toBeGreaterThan(0)
      else expect(response.body.endsWith('data: [DONE]\n\n'), what).toBe(true)
    }
  }
  console.info(`fuzz: ${JSON.stringify(Object.fromEntries(seen))}`)
  expect(seen.get(200)).toBeGreaterThan(NUM_BODIES / 20)
  expect(seen.get(400)).toBeGreaterThan(NUM_BODIES / 3)
  // Bodies that are JSON but no object are parsed too, and are counted as invalid_json.
  expect(server.audit.records.length).toBeGreaterThanOrEqual(numParsed)
  expect(server.audit.records.filter(({ errorCode }) => errorCode === 'SERVER_INTERNAL')).toEqual(
    [],
  )
  expect(server.deployments.numRunning).toBe(0)
})
