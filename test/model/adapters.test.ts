/** Adapters on the real server and the default model: named in requests, through a crash, loaded and unloaded over HTTP. */

import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { digestAdapter } from '../../src/checkpoint/adapter/adapter-digest.ts'
import { ask, type ChatBody } from '../support/chat-client.ts'
import { encodeSafetensors, f32, writeModelFolder } from '../support/safetensors-writer.ts'
import { seededRandom } from '../support/seeded-random.ts'
import { MODEL_ID, ServerProcess } from '../support/server-process.ts'

const SHAPES = { q_proj: [576, 576], k_proj: [192, 576], v_proj: [192, 576] } as const
let root: string
let server: ServerProcess | undefined

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'ingot-lora-'))
  await mkdir(join(root, 'loras'))
  await writeSmolAdapter(join(root, 'loras', 'one'), 1)
  await writeSmolAdapter(join(root, 'loras', 'two'), 2)
})
afterAll(() => rm(root, { recursive: true }))
afterEach(async () => {
  await server?.stop('SIGKILL')
  server = undefined
})

/** Of q, k and v in all thirty layers of SmolLM2-135M, strong enough to be seen. */
function writeSmolAdapter(folder: string, seed: number): Promise<string> {
  const random = seededRandom(seed)
  const values = (length: number) => f32(Array.from({ length }, () => 0.1 * (random.next() - 0.5)))
  const tensors: Record<string, { shape: number[]; data: Buffer }> = {}
  for (let layer = 0; layer < 30; layer++) {
    for (const [name, [outputs, inputs]] of Object.entries(SHAPES)) {
      const module = `base_model.model.model.layers.${layer}.self_attn.${name}`
      tensors[`${module}.lora_A.weight`] = { shape: [8, inputs], data: values(8 * inputs) }
      tensors[`${module}.lora_B.weight`] = { shape: [outputs, 8], data: values(outputs * 8) }
    }
  }
  return writeModelFolder(folder, {
    'adapter_config.json': { peft_type: 'LORA', r: 8, lora_alpha: 32, task_type: 'CAUSAL_LM' },
    'adapter_model.safetensors': encodeSafetensors(tensors),
  })
}

const chat = (model: string): ChatBody => ({
  model,
  messages: [{ role: 'user', content: 'Tell a story about a river.' }],
  max_tokens: 16,
  temperature: 0,
})

async function post(path: string, body: object) {
  const response = await fetch(`${server?.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  return { status: response.status, body: (await response.json()) as Record<string, unknown> }
}

describe('ingot serve with adapters', () => {
  it('answers with each and with none at once, as each alone, and again after a crash', async () => {
    server = await ServerProcess.start()
    const base = await ask(server.url, chat(MODEL_ID))
    await server.stop()
    const flags = [`one=${join(root, 'loras', 'one')}`, `two=${join(root, 'loras', 'two')}`]
    server = await ServerProcess.start(['--lora-modules', flags.join(',')])
    const { url } = server
    const names = [MODEL_ID, `${MODEL_ID}:one`, `${MODEL_ID}:two`]
    const alone: string[] = []
    for (const name of names) alone.push(await ask(url, chat(name)))
    expect(alone[0]).toBe(base)
    expect(new Set(alone).size).toBe(3)
    const mixed = Array.from({ length: 24 }, (_, index) => index % 3)
    const answers = await Promise.all(mixed.map((at) => ask(url, chat(names[at] ?? ''))))
    expect(answers).toEqual(mixed.map((at) => alone[at]))
    const { pid } = await server.replica()
    if (pid !== null) process.kill(pid, 'SIGKILL')
    await server.waitUntil('restarting', ({ status }) => status !== 'ok')
    await server.waitUntil('ready again', ({ status }) => status === 'ok')
    for (const [at, name] of names.entries()) expect(await ask(url, chat(name))).toBe(alone[at])
    const { status, body } = await post('/v1/chat/completions', chat(`${MODEL_ID}:three`))
    expect([status, JSON.stringify(body)]).toEqual([
      404,
      expect.stringContaining('loaded: one, two'),
    ])
    await expectRecords(server)
  })

  it('loads and unloads over HTTP below the allowed folder, and nothing else', async () => {
    server = await ServerProcess.start(['--runtime-lora-folder', join(root, 'loras')])
    const base = await ask(server.url, chat(MODEL_ID))
    const load = (lora_name: string, lora_path: string) =>
      post('/v1/load_lora_adapter', { lora_name, lora_path })
    expect(await load('sql', 'one')).toMatchObject({
      status: 200,
      body: { id: `${MODEL_ID}:sql`, parent: MODEL_ID },
    })
    expect((await load('out', '../loras/../..')).status).toBe(403)
    await mkdir(join(root, 'loras', 'broken'), { recursive: true })
    expect((await load('broken', 'broken')).status).toBe(404)
    const other = await ask(server.url, chat(`${MODEL_ID}:sql`))
    expect(other).not.toBe(base)
    expect((await post('/v1/unload_lora_adapter', { lora_name: 'sql' })).status).toBe(200)
    expect((await post('/v1/chat/completions', chat(`${MODEL_ID}:sql`))).status).toBe(404)
    expect((await load('sql', 'two')).status).toBe(200)
    // The same prompt and name: nothing of the first adapter's keys and values is found.
    expect(await ask(server.url, chat(`${MODEL_ID}:sql`))).not.toBe(other)
    expect(await ask(server.url, chat(MODEL_ID))).toBe(base)
  })

  it('does not start with an adapter that does not fit, and says which', async () => {
    const folder = await writeModelFolder(join(root, 'dora'), {
      'adapter_config.json': { peft_type: 'LORA', r: 8, lora_alpha: 32, use_dora: true },
      'adapter_model.safetensors': encodeSafetensors({ x: { shape: [1] } }),
    })
    await expect(ServerProcess.start(['--lora-modules', `d=${folder}`])).rejects.toThrow(/use_dora/)
  })
})

/** Each adapter's answers have its digest, and fingerprints and configurations of their own. */
async function expectRecords({ auditFile }: ServerProcess): Promise<void> {
  const lines = (await readFile(auditFile, 'utf8')).trim().split('\n')
  const records = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
  const answered = records.filter(({ outcome }) => outcome === 'completed')
  const digests = new Map(answered.map((record) => [record.resolvedModel, record.adapterDigest]))
  expect(digests).toEqual(
    new Map([
      [MODEL_ID, null],
      [`${MODEL_ID}:one`, await digestAdapter(join(root, 'loras', 'one'))],
      [`${MODEL_ID}:two`, await digestAdapter(join(root, 'loras', 'two'))],
    ]),
  )
  for (const key of ['servingConfigDigest', 'systemFingerprint']) {
    expect(new Set(answered.map((record) => record[key])).size).toBe(3)
  }
}
