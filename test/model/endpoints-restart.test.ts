/** The real server over restarts: what the API created comes back, and what must not be, does not start. */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { MODEL_ID, ServerProcess } from '../support/server-process.ts'

const source = process.env.INGOT_TEST_MODEL ?? MODEL_ID
let folder: string
let server: ServerProcess | undefined

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ingot-restart-'))
})
afterEach(async () => {
  await server?.stop('SIGKILL')
  server = undefined
  await rm(folder, { recursive: true, force: true })
})

async function start(file: object): Promise<ServerProcess> {
  const config = join(folder, 'ingot.yaml')
  await writeFile(config, JSON.stringify({ pool: { memoryBudget: '900MiB' }, ...file }))
  const audit = ['--audit-log', join(folder, 'audit.jsonl'), '--audit-fsync', 'batch']
  server = await ServerProcess.start(['--config', config, ...audit], null)
  return server
}

/** What it said when it did not start. */
async function refusal(file: object): Promise<string> {
  try {
    await start(file)
  } catch (error) {
    return (error as Error).message
  }
  throw new Error('expected the server not to start')
}

async function call(method: string, path: string, body?: object): Promise<Record<string, unknown>> {
  const response = await fetch(`${server?.url}${path}`, {
    method,
    ...(body === undefined
      ? {}
      : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  })
  const answer = (await response.json()) as Record<string, unknown>
  expect(response.ok, JSON.stringify(answer)).toBe(true)
  return answer
}

const chat = (model: string, extra: object = {}) =>
  call('POST', '/v1/chat/completions', {
    model,
    messages: [{ role: 'user', content: 'Hi.' }],
    max_tokens: 1,
    ...extra,
  })

async function names(path: string): Promise<unknown[]> {
  const { data } = (await call('GET', path)) as { data: { name: unknown }[] }
  return data.map(({ name }) => name).sort()
}

const FILE = { endpoints: { a: { model: source, kvMemory: '64MiB', region: 'desk' } } }

it('keeps what the API created, tells who served, and refuses files and histories that contradict', async () => {
  await start(FILE)
  await call('POST', '/v1/endpoints', {
    model: source,
    name: 'b',
    type: 'serverless',
    kv_memory_bytes: 2 ** 26,
  })
  await call('PUT', '/v1/aliases/chat', { targets: ['a', 'b'] })
  const answer = await chat('chat', { provider: { ignore: ['a'] } })
  expect(answer).toMatchObject({
    provider: 'b',
    ingot: {
      endpoint: 'b',
      variant: 'source',
      retention: 'none',
      fallbacks: ['a: provider.ignore names it'],
    },
  })
  expect(await server?.stop()).toBe(0)

  await start(FILE)
  expect(await names('/v1/endpoints')).toEqual(['a', 'b'])
  expect(await chat('chat', { provider: {} })).toMatchObject({
    provider: 'a',
    ingot: { region: 'desk', fallbacks: [] },
  })
  const { data: history } = (await call('GET', '/v1/history')) as {
    data: Record<string, unknown>[]
  }
  expect(history.map(({ sequence, who, name, origin }) => [sequence, who, name, origin])).toEqual([
    [1, 'config file', 'a', 'file'],
    [2, 'local', 'b', 'api'],
    [3, 'local', 'chat', 'api'],
  ])
  expect(await server?.stop()).toBe(0)
  const records = (await readFile(join(folder, 'audit.jsonl'), 'utf8'))
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  expect(records.filter(({ type }) => type === 'request')).toMatchObject([
    { requestedAlias: 'chat', endpoint: 'b', fallbackEvents: ['a: provider.ignore names it'] },
    { requestedAlias: 'chat', endpoint: 'a', region: 'desk', retentionMode: 'none' },
  ])
  const started = records.filter(({ type }) => type === 'configuration')
  expect(started.map(({ settings }) => settings['endpoints.historySequence'])).toEqual([1, 3])

  expect(await refusal({ endpoints: { ...FILE.endpoints, b: { model: source } } })).toContain(
    'DEPLOYMENT_NAME_CREATED',
  )
  expect(await refusal({ endpoints: { other: { model: source } } })).toContain(
    'expected aliases.chat.targets[0] to be the name of an endpoint or of another alias, got "a"',
  )
  const path = join(folder, 'endpoints.jsonl')
  const text = await readFile(path, 'utf8')
  await writeFile(path, text.replace('"who":"local"', '"who":"other"'))
  expect(await refusal(FILE)).toContain('HISTORY_CHAIN_BROKEN')
  await writeFile(path, text)
  await start(FILE)
  expect(await names('/v1/aliases')).toEqual(['chat'])
})

it('lets one server at a time keep its endpoints there', async () => {
  await start(FILE)
  expect(await refusal(FILE)).toContain('[CLI_HOME_IN_USE]')
  await server?.stop('SIGKILL')
  // Whoever was killed holds nothing.
  await start(FILE)
})
