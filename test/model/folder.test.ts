/** Hugging Face folders through `ingot serve`, as a user would: with a tokenizer, and with token ids only. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { MODEL_ID, ServerProcess } from '../support/server-process.ts'
import { writeTinyLlamaFolder } from '../support/tiny-llama-folder.ts'

const WORDS = Array.from({ length: 96 }, (_, id) => `w${id}`)
/** Words between spaces, one token each. */
const TOKENIZER = {
  version: '1.0',
  truncation: null,
  padding: null,
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: { type: 'WhitespaceSplit' },
  post_processor: null,
  decoder: null,
  model: {
    type: 'WordLevel',
    vocab: Object.fromEntries(WORDS.map((word, id) => [word, id])),
    unk_token: 'w0',
  },
}
const PROMPT = [5, 6, 7]

let root: string
let server: ServerProcess | undefined

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'ingot-folder-'))
})
afterEach(async () => {
  await server?.stop()
  await rm(root, { recursive: true })
})

async function serve(files: Readonly<Record<string, string | object>> = {}): Promise<void> {
  const model = await writeTinyLlamaFolder(join(root, 'model'), files)
  // A home of its own, so that no digest of it stays behind.
  const flags = ['--activations', 'f32', '--threads', '1', '--home', join(root, 'home')]
  server = await ServerProcess.start(flags, model)
}

interface Answer {
  readonly choices: readonly { readonly text: string; readonly token_ids: readonly number[] }[]
  readonly usage: { readonly prompt_tokens: number }
  readonly error?: { readonly message: string; readonly param: string }
}

async function post(path: string, body: object): Promise<{ status: number; answer: Answer }> {
  const common = { model: MODEL_ID, temperature: 0, max_tokens: 6, ignore_eos: true }
  const response = await fetch(`${server?.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...common, return_token_ids: true, ...body }),
  })
  return { status: response.status, answer: (await response.json()) as Answer }
}

it('a folder without tokenizer serves token ids and refuses texts', async () => {
  await serve()
  const { status, answer } = await post('/v1/completions', { prompt: PROMPT })
  expect(status).toBe(200)
  expect(answer.choices[0]?.token_ids).toHaveLength(6)
  expect(answer.choices[0]?.text).toBe('')
  const streamed = await post('/v1/completions', { prompt: [PROMPT, PROMPT] })
  const [first, second] = streamed.answer.choices
  expect(first?.token_ids).toEqual(answer.choices[0]?.token_ids)
  expect(second?.token_ids).toEqual(first?.token_ids)
  const refused = [
    await post('/v1/completions', { prompt: 'w5 w6' }),
    await post('/v1/completions', { prompt: PROMPT, stop: ['w1'] }),
    await post('/v1/completions', { prompt: PROMPT, echo: true }),
    await post('/v1/chat/completions', { messages: [{ role: 'user', content: 'w5' }] }),
  ]
  for (const [index, param] of ['prompt', 'stop', 'echo', 'messages'].entries()) {
    expect(refused[index]).toMatchObject({ status: 400, answer: { error: { param } } })
    expect(refused[index]?.answer.error?.message).toContain('has no tokenizer')
  }
  expect(await server?.stop()).toBe(0)
})

it('a folder with a tokenizer and a chat template serves texts', async () => {
  const files = {
    'tokenizer.json': TOKENIZER,
    'tokenizer_config.json': { eos_token: 'w2' },
    'chat_template.jinja': '{% for m in messages %}w5 {{ m.content }}{% endfor %}',
  }
  await serve(files)
  const ids = await post('/v1/completions', { prompt: PROMPT })
  const text = await post('/v1/completions', { prompt: 'w5 w6 w7' })
  expect(text.answer).toMatchObject({ usage: { prompt_tokens: 3 } })
  const [choice] = text.answer.choices
  expect(choice?.token_ids).toEqual(ids.answer.choices[0]?.token_ids)
  expect(choice?.text).toContain(WORDS[choice?.token_ids[0] ?? -1])
  const chat = await post('/v1/chat/completions', {
    messages: [{ role: 'user', content: 'w6 w7' }],
  })
  expect(chat.answer.choices[0]?.token_ids).toEqual(choice?.token_ids)
  expect(await server?.stop()).toBe(0)
})
