/**
 * One conversation with the official npm client, run against whatever serves `baseURL`: the fake in this folder, real
 * weights in the end-to-end test. `openai_client.py` holds the same with the PyPI client. Asserts by throwing.
 */

import assert from 'node:assert/strict'
import OpenAI from 'openai'

export interface ConversationOptions {
  /** With `/v1`. */
  readonly baseURL: string
  readonly model: string
}

/** Names of the steps that ran, so that a test can say all did. */
export async function converse({ baseURL, model }: ConversationOptions): Promise<string[]> {
  const client = new OpenAI({ baseURL, apiKey: 'sk-local', maxRetries: 0, timeout: 120_000 })
  const steps: [string, (client: OpenAI, model: string) => Promise<void>][] = [
    ['models', models],
    ['chat and stream agree', chatAndStream],
    ['n', choices],
    ['logprobs', logprobs],
    ['stop', stop],
    ['completions', completions],
    ['errors', errors],
    ['timeouts and aborts', timeouts],
    ['raw response', rawResponse],
  ]
  const done: string[] = []
  for (const [name, step] of steps) {
    try {
      await step(client, model)
    } catch (cause) {
      throw new Error(`step "${name}" failed: ${(cause as Error).message}`, { cause })
    }
    done.push(name)
  }
  return done
}

const messages = [
  { role: 'system' as const, content: 'You are a helpful assistant.' },
  { role: 'user' as const, content: 'Name three colours of the rainbow.' },
]
const settings = { messages, seed: 7, max_completion_tokens: 24, temperature: 0.8 }

async function models(client: OpenAI, model: string): Promise<void> {
  const listed: string[] = []
  for await (const one of client.models.list()) listed.push(one.id)
  assert.ok(listed.includes(model), `${model} is among ${listed.join(', ')}`)
  const one = await client.models.retrieve(model)
  assert.equal(one.object, 'model')
  assert.equal(one.id, model)
}

async function chatAndStream(client: OpenAI, model: string): Promise<void> {
  const whole = await client.chat.completions.create({ ...settings, model })
  const again = await client.chat.completions.create({ ...settings, model })
  const stream = await client.chat.completions.create({
    ...settings,
    model,
    stream: true,
    stream_options: { include_usage: true },
  })
  let text = ''
  let finishReason: string | null = null
  let usage: OpenAI.CompletionUsage | null | undefined
  const roles: string[] = []
  const ids = new Set<string>()
  for await (const chunk of stream) {
    ids.add(chunk.id)
    const choice = chunk.choices[0]
    if (choice?.delta.role !== undefined) roles.push(choice.delta.role)
    text += choice?.delta.content ?? ''
    finishReason = choice?.finish_reason ?? finishReason
    usage = chunk.usage ?? usage
  }
  const choice = whole.choices[0]
  assert.equal(whole.object, 'chat.completion')
  assert.equal(choice?.message.role, 'assistant')
  assert.ok((choice.message.content ?? '').length > 0, 'the answer has text')
  assert.equal(again.choices[0]?.message.content, choice.message.content, 'a seed repeats')
  assert.equal(text, choice.message.content, 'the stream says the same')
  assert.equal(finishReason, choice.finish_reason)
  assert.deepEqual(usage, whole.usage)
  assert.deepEqual(roles, ['assistant'])
  assert.equal(ids.size, 1, 'one id over the stream')
  const { prompt_tokens, completion_tokens, total_tokens } = whole.usage as OpenAI.CompletionUsage
  assert.ok(prompt_tokens > 0 && completion_tokens > 0 && completion_tokens <= 24)
  assert.equal(total_tokens, prompt_tokens + completion_tokens)
  const helper = client.chat.completions.stream({ ...settings, model })
  assert.equal(await helper.finalContent(), choice.message.content, 'the stream helper agrees')
}

async function choices(client: OpenAI, model: string): Promise<void> {
  const one = await client.chat.completions.create({ ...settings, model })
  const whole = await client.chat.completions.create({ ...settings, model, n: 3, temperature: 1 })
  assert.deepEqual(
    whole.choices.map(({ index }) => index),
    [0, 1, 2],
  )
  const stream = await client.chat.completions.create({
    ...settings,
    model,
    n: 3,
    temperature: 1,
    stream: true,
  })
  const texts = ['', '', '']
  for await (const { choices } of stream) {
    for (const { index, delta } of choices) texts[index] += delta.content ?? ''
  }
  assert.deepEqual(
    texts,
    whole.choices.map(({ message }) => message.content),
  )
  assert.equal(one.choices.length, 1)
}

async function logprobs(client: OpenAI, model: string): Promise<void> {
  const wishes = { ...settings, model, logprobs: true, top_logprobs: 3 }
  const whole = await client.chat.completions.create(wishes)
  const content = whole.choices[0]?.logprobs?.content ?? []
  assert.ok(content.length > 0 && content.length <= (whole.usage?.completion_tokens ?? 0))
  for (const { logprob, top_logprobs, bytes } of content) {
    assert.ok(logprob <= 0)
    assert.equal(top_logprobs.length, 3)
    assert.ok(Array.isArray(bytes))
    const sorted = top_logprobs.map((one) => one.logprob)
    assert.deepEqual(
      sorted,
      [...sorted].sort((first, second) => second - first),
    )
  }
  const streamed: OpenAI.ChatCompletionTokenLogprob[] = []
  for await (const chunk of await client.chat.completions.create({ ...wishes, stream: true })) {
    streamed.push(...(chunk.choices[0]?.logprobs?.content ?? []))
  }
  assert.deepEqual(streamed, content)
}

async function stop(client: OpenAI, model: string): Promise<void> {
  const free = await client.chat.completions.create({ ...settings, model })
  const text = free.choices[0]?.message.content as string
  // From the middle of the answer, so that the match spans what streams as several chunks.
  const middle = Math.floor(text.length / 2)
  const end = text.slice(middle, middle + 3)
  const stopped = await client.chat.completions.create({
    ...settings,
    model,
    stop: [end, '\u0000'],
  })
  assert.equal(stopped.choices[0]?.message.content, text.slice(0, text.indexOf(end)))
  assert.equal(stopped.choices[0]?.finish_reason, 'stop')
  let streamed = ''
  const stream = await client.chat.completions.create({
    ...settings,
    model,
    stop: end,
    stream: true,
  })
  for await (const chunk of stream) streamed += chunk.choices[0]?.delta.content ?? ''
  assert.equal(streamed, stopped.choices[0]?.message.content)
}

async function completions(client: OpenAI, model: string): Promise<void> {
  const wishes = { model, prompt: ['The sky is', 'Grass is'], seed: 7, max_tokens: 4, logprobs: 2 }
  const whole = await client.completions.create({ ...wishes, echo: true })
  assert.deepEqual(
    whole.choices.map(({ index }) => index),
    [0, 1],
  )
  assert.ok(whole.choices[0]?.text.startsWith('The sky is'))
  assert.ok(whole.choices[1]?.text.startsWith('Grass is'))
  const { tokens, token_logprobs, top_logprobs, text_offset } = whole.choices[0]?.logprobs ?? {}
  assert.equal(token_logprobs?.[0], null)
  assert.equal(tokens?.length, token_logprobs?.length)
  assert.equal(tokens?.length, top_logprobs?.length)
  assert.equal(tokens?.length, text_offset?.length)
  const texts = ['', '']
  for await (const chunk of await client.completions.create({
    ...wishes,
    echo: true,
    stream: true,
  })) {
    for (const { index, text } of chunk.choices) texts[index] += text
  }
  assert.deepEqual(
    texts,
    whole.choices.map(({ text }) => text),
  )
}

async function errors(client: OpenAI, model: string): Promise<void> {
  const chat = (body: object): Promise<unknown> =>
    client.chat.completions.create({ ...settings, model, ...body } as never)
  await assert.rejects(chat({ model: 'no-such-model' }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError)
    assert.equal(error.code, 'model_not_found')
    assert.match(error.requestID ?? '', /^req_/)
    return true
  })
  const badRequests: [object, string, string][] = [
    [{ temperature: 9 }, 'temperature', 'invalid_value'],
    [{ temperature: 'hot' }, 'temperature', 'invalid_type'],
    [{ response_format: { type: 'json_object' } }, 'response_format', 'unsupported_parameter'],
    [{ no_such_parameter: 1 }, 'no_such_parameter', 'unknown_parameter'],
    [{ messages: [] }, 'messages', 'invalid_value'],
  ]
  for (const stream of [false, true]) {
    for (const [body, param, code] of badRequests) {
      await assert.rejects(chat({ ...body, stream }), (error) => {
        assert.ok(error instanceof OpenAI.BadRequestError)
        assert.deepEqual([error.param, error.code], [param, code])
        return true
      })
    }
  }
  await assert.rejects(client.embeddings.create({ model, input: 'x' }), OpenAI.NotFoundError)
}

async function timeouts(client: OpenAI, model: string): Promise<void> {
  const long = { ...settings, model, max_completion_tokens: 400, ignore_eos: true }
  await assert.rejects(
    client.chat.completions.create(long as never, { timeout: 1 }),
    OpenAI.APIConnectionTimeoutError,
  )
  const controller = new AbortController()
  const stream = (await client.chat.completions.create({ ...long, stream: true } as never, {
    signal: controller.signal,
  })) as unknown as AsyncIterable<OpenAI.ChatCompletionChunk>
  let numChunks = 0
  for await (const _chunk of stream) {
    numChunks += 1
    if (numChunks === 2) controller.abort()
  }
  assert.ok(numChunks >= 2, 'the stream had begun')
  const after = await client.chat.completions.create({ ...settings, model })
  assert.equal(after.choices.length, 1, 'the next request is answered')
}

async function rawResponse(client: OpenAI, model: string): Promise<void> {
  const { response, request_id } = await client.chat.completions
    .create(
      { ...settings, model, max_completion_tokens: 1 },
      { headers: { 'x-request-id': 'mine-1' } },
    )
    .withResponse()
  assert.equal(request_id, 'mine-1')
  assert.match(response.headers.get('openai-processing-ms') ?? '', /^\d+$/)
}
