/** On the real server: what callers' prompts left on disk is found after a restart, by themselves only, until deleted. */

import { execFile } from 'node:child_process'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { principalOf } from '../../src/accounts/principal.ts'
import { modelPath } from '../support/model-path.ts'
import { MODEL_ID, ServerProcess } from '../support/server-process.ts'

const BLOCK_TOKENS = 32
/** Ids of no special token, 300 of them: nine full blocks. */
const PROMPT = Array.from({ length: 300 }, (_, index) => 1000 + ((index * 37) % 5000))
const NUM_FULL = Math.floor((PROMPT.length - 1) / BLOCK_TOKENS) * BLOCK_TOKENS

let home: string
let path: string
let server: ServerProcess | undefined
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'ingot-kv-home-'))
  path = await modelPath()
})
afterEach(async () => {
  await server?.stop('SIGKILL')
  server = undefined
})
afterAll(() => rm(home, { recursive: true, force: true }))

async function start(): Promise<ServerProcess> {
  server = await ServerProcess.start(
    ['--home', home, '--kv-disk-cache', '1GiB', '--kv-memory', '64MiB'],
    path,
  )
  return server
}

interface Answer {
  readonly text: string
  readonly cached: number
}

async function complete({ url }: ServerProcess, key?: string): Promise<Answer> {
  const authorization = key === undefined ? {} : { authorization: `Bearer ${key}` }
  const response = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...authorization },
    body: JSON.stringify({ model: MODEL_ID, prompt: PROMPT, max_tokens: 16, seed: 7 }),
  })
  const body = (await response.json()) as {
    choices: { text: string }[]
    usage: { prompt_tokens_details: { cached_tokens: number } }
  }
  return {
    text: body.choices[0]?.text ?? '',
    cached: body.usage.prompt_tokens_details.cached_tokens,
  }
}

it('a prompt is read from disk after a restart, counted as cached, and deleted on request', async () => {
  const first = await start()
  const computed = await complete(first)
  expect(computed.cached).toBe(0)
  await first.stop()
  expect((await stat(join(home, 'kv'))).mode & 0o777).toBe(0o700)

  const second = await start()
  expect(await complete(second)).toEqual({ ...computed, cached: NUM_FULL })
  // The very same text of another caller is nothing that was seen before.
  expect(await complete(second, 'another-key')).toEqual(computed)
  expect(await second.metric('ingot_kv_restored_tokens_total')).toBe(NUM_FULL)
  expect(await second.metric('ingot_kv_disk_loaded_blocks_total')).toBe(NUM_FULL / BLOCK_TOKENS)
  await second.stop()

  const main = join(import.meta.dirname, '../../dist/app/main.js')
  const ingot = (...args: string[]) =>
    promisify(execFile)(process.execPath, [main, 'cache', ...args, '--home', home])
  const removed = (await ingot('rm', '--principal', 'local')).stdout
  expect(removed).toMatch(/^removed \d+ blocks, \S+ MiB of local\n$/)

  const third = await start()
  expect(await complete(third)).toEqual(computed)
  expect(await complete(third, 'another-key')).toEqual({ ...computed, cached: NUM_FULL })
  await third.stop()
  const principal = principalOf('Bearer another-key')
  expect((await ingot('rm', '--principal', principal)).stdout).toContain(principal)
}, 120_000)
