/**
 * Exported ONNX folders through `ingot serve`, as a user would: token ids in and out, streams, hang-ups, seeds, and the
 * process that runs them.
 */

import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { MODEL_ID, ServerProcess } from '../support/server-process.ts'
import { writeGenaiFolder, writeOptimumFolder } from '../support/tiny-exported.ts'

const DIST = join(import.meta.dirname, '../../dist')
const MAIN = join(DIST, 'src/main.js')
const run = promisify(execFile)

let root: string

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'ingot-exported-'))
})
afterAll(() => rm(root, { recursive: true }))

interface Choice {
  readonly token_ids: readonly number[]
  readonly finish_reason: string
  readonly logprobs: unknown
}

describe.each(['optimum', 'genai'] as const)('a folder of %s', (layout) => {
  let server: ServerProcess

  beforeAll(async () => {
    const folder = join(root, layout)
    if (layout === 'genai') await writeGenaiFolder(folder)
    else await writeOptimumFolder(folder)
    server = await ServerProcess.start(['--home', join(root, 'home')], folder)
  })
  afterAll(() => server.stop())

  function post(body: object, signal?: AbortSignal): Promise<Response> {
    const common = { model: MODEL_ID, max_tokens: 12, ignore_eos: true, return_token_ids: true }
    return fetch(`${server.url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...common, ...body }),
      ...(signal === undefined ? {} : { signal }),
    })
  }

  async function complete(body: object): Promise<Choice> {
    const response = await post(body)
    expect(response.status).toBe(200)
    const { choices } = (await response.json()) as { choices: readonly Choice[] }
    return choices[0] as Choice
  }

  const seeded = (seed: number) => ({
    prompt: Array.from({ length: 40 }, (_, index) => (seed * 7 + index * 5) % 96),
    temperature: 0.9,
    seed,
    logprobs: 3,
  })

  it('says at start which graph it serves and that its settings are the graph’s', () => {
    expect(server.startText).toMatch(/quantization +F32 +model\.onnx, /)
    expect(server.startText).toMatch(/kernels +onnxruntime /)
    expect(server.startText).toMatch(/kv-dtype +f32 +of the exported graph/)
    expect(server.startText).toMatch(/prefix-cache +off /)
  })

  it('gives the same answer to a seed each time, alone and in a batch', async () => {
    const alone = []
    for (let seed = 0; seed < 6; seed++) alone.push(await complete(seeded(seed)))
    const together = await Promise.all(alone.map((_, seed) => complete(seeded(seed))))
    expect(together).toEqual(alone)
    expect(alone[0]?.token_ids).toHaveLength(12)
    expect(new Set(alone.map(({ token_ids }) => token_ids.join())).size).toBe(6)
  })

  it('streams the tokens of the whole answer', async () => {
    const whole = await complete(seeded(1))
    const text = await (await post({ ...seeded(1), stream: true })).text()
    const frames = text.split('\n\n').filter((frame) => frame.startsWith('data: {'))
    const tokens = frames.flatMap((frame) => {
      const { choices } = JSON.parse(frame.slice(6)) as { choices: readonly Choice[] }
      return choices.flatMap(({ token_ids }) => token_ids ?? [])
    })
    expect(tokens).toEqual(whole.token_ids)
  })

  it('ends a sequence whose caller hung up, and serves on', async () => {
    const controller = new AbortController()
    const body = { prompt: [1, 2, 3], max_tokens: 500, temperature: 0, stream: true }
    const response = await post(body, controller.signal)
    const reader = response.body?.getReader()
    await reader?.read()
    controller.abort()
    await server.waitUntil('idle', ({ replicas }) => replicas[0]?.running === 0)
    expect((await server.replica()).free_blocks).toBe((await server.replica()).blocks)
    expect((await complete(seeded(2))).finish_reason).toBe('length')
  })

  it('stops soon while it computes', async () => {
    const flags = ['--home', join(root, 'home'), '--grace-period', '1']
    const second = await ServerProcess.start(flags, join(root, layout))
    const url = `${second.url}/v1/completions`
    const body = { model: MODEL_ID, prompt: [1, 2], max_tokens: 500, ignore_eos: true, n: 8 }
    const headers = { 'content-type': 'application/json' }
    const answer = fetch(url, { method: 'POST', headers, body: JSON.stringify(body) }).then(
      ({ status }) => status,
      () => 'cut',
    )
    await second.waitUntil('busy', ({ replicas }) => (replicas[0]?.running ?? 0) > 0)
    const start = performance.now()
    expect(await second.stop()).toBe(0)
    expect(performance.now() - start).toBeLessThan(15_000)
    expect([200, 'cut', 503]).toContain(await answer)
  })
})

describe('commands', () => {
  const ingot = (...words: string[]) =>
    run(process.execPath, [MAIN, ...words, '--home', join(root, 'home')]).then(
      ({ stdout }) => ({ code: 0, text: stdout }),
      (error: { code: number; stderr: string }) => ({ code: error.code, text: error.stderr }),
    )

  it('inspect tells the graph and its variants', async () => {
    const folder = await writeOptimumFolder(join(root, 'inspected'))
    await writeOptimumFolder(folder, { type: 'f16' }, 'model_fp16')
    const { code, text } = await ingot('inspect', folder)
    expect(code).toBe(0)
    expect(text).toMatch(/graph +model\.onnx +the most exact of 2 variants/)
    expect(text).toMatch(/others +model_fp16\.onnx/)
    expect(text).toMatch(/KV of 1,000 tokens .* f32, 1024 bytes a token/)
    const half = await ingot('inspect', join(folder, 'onnx/model_fp16.onnx'))
    expect(half.text).toMatch(/keys and values +f16/)
  })

  it.each([
    ['--weights', 'int4', 'source'],
    ['--activations', 'int8', 'f32'],
    ['--kv-dtype', 'bf16', 'f32'],
  ])('serve refuses %s %s, which the graph decides', async (flag, value, expected) => {
    const folder = await writeOptimumFolder(join(root, `refused${flag}`))
    const { code, text } = await ingot('serve', folder, flag, value, '--port', '0')
    expect(code).toBe(1)
    expect(text).toContain('DEPLOYMENT_EXPORTED_SETTING')
    expect(text).toContain(`expected ${flag} ${expected}`)
  })
})

it('leaves no trace of the vendor’s telemetry, neither its log nor a device id', async () => {
  const folder = await writeGenaiFolder(join(root, 'quiet'))
  const home = join(root, 'quiet-home')
  await mkdir(home)
  const script = join(root, 'load.mjs')
  const options = {
    checkpointPath: folder,
    threads: 1,
    activations: 'f32',
    kvDtype: 'f32',
    kvMemoryBytes: 2 ** 24,
    blockSize: 16,
    maxNumBatchedTokens: 16,
    maxNumSeqs: 2,
    maxContextTokens: 64,
    eosTokenIds: [],
    scheduling: { prefixCache: false },
  }
  const entry = JSON.stringify(join(DIST, 'src/worker/load-engine.js'))
  await writeFile(
    script,
    `import { loadEngine } from ${entry}
const { executor } = await loadEngine(${JSON.stringify(options)})
await executor.close()
console.log('closed')`,
  )
  const env = { HOME: home, TMPDIR: home, XDG_CACHE_HOME: home, ORT_DISABLE_TELEMETRY: '' }
  const { stdout } = await run(process.execPath, [script], { env })
  expect({ stdout, files: await readdir(home, { recursive: true }) }).toEqual({
    stdout: 'closed\n',
    files: [],
  })
})
