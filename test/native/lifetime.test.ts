/** Ends of processes, workers and models: none may crash, hang or leak, whatever was under way. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { tinyOnnx, writeTinyWeights } from '../support/tiny-llama.ts'
import { scratchFolder, tinyOptions } from '../support/tiny-model.ts'

const folder = scratchFolder()
const plan = join(folder.path, 'plan.json')
beforeAll(() => {
  const weights = writeTinyWeights(join(folder.path, 'weights.bin'), 'F32')
  const onnx = join(folder.path, 'model.onnx')
  writeFileSync(onnx, tinyOnnx())
  const plain = weights.map((weight) =>
    weight.values === undefined ? weight : { ...weight, values: [...weight.values] },
  )
  const options = tinyOptions({ maxNumBatchedTokens: 2048, maxBlocksPerSeq: 128, numBlocks: 128 })
  writeFileSync(
    plan,
    JSON.stringify({ addon: resolve('native/ingot.node'), options, weights: plain, onnx }),
  )
})
afterAll(folder.remove)

async function run(
  scenario: string,
  environment: Record<string, string> = {},
): Promise<{ code: number | null; signal: string | null; output: string; errors: string }> {
  const child = spawn(
    process.execPath,
    ['--expose-gc', 'test/native/lifetime-child.mjs', plan, scenario],
    {
      timeout: 120_000,
      killSignal: 'SIGKILL',
      env: { ...process.env, ...environment },
    },
  )
  let output = ''
  let errors = ''
  child.stdout.on('data', (chunk) => (output += chunk))
  child.stderr.on('data', (chunk) => (errors += chunk))
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null]
  return { code, signal, output, errors }
}

const QUIET = [
  'natural exit without dispose',
  'a step that fails',
  'process.exit while a step is under way',
  'process.exit right after dispose',
  'workers one after another',
  'workers at the same time, and the main thread',
  'a worker terminated while its step is under way',
  'a library only loaded in a worker',
]

it.each(QUIET)('%s: exit 0 and not a word', async (scenario) => {
  expect(await run(scenario)).toEqual({ code: 0, signal: null, output: '', errors: '' })
})

it.each([
  ['natural exit waits for the pending promise', 'settled'],
  ['a worker that ends by itself', 'worker 0'],
  ['with onnxruntime-node in the same process', 'refused'],
])('%s', async (scenario, expected) => {
  const { code, signal, output } = await run(scenario)
  expect({ code, signal, output: output.trim() }).toEqual({
    code: 0,
    signal: null,
    output: expected,
  })
})

it.runIf(process.platform === 'linux')(
  'models that nobody disposed of are collected, threads included',
  async () => {
    const { code, output } = await run('models that nobody disposed of are collected')
    expect(code).toBe(0)
    // Node itself has about 11 threads; 30 models would have brought 60 more.
    expect(Number(output.replace('threads', ''))).toBeLessThan(25)
  },
)

it('ten thousand steps do not grow the process', async () => {
  const { code, output } = await run('ten thousand steps')
  expect(code).toBe(0)
  expect(Number(output.replace('grew', ''))).toBeLessThan(8 * 1024 * 1024)
})

it('leaves no trace of the vendor’s telemetry, neither its log nor a device id', async () => {
  const home = join(folder.path, 'home')
  mkdirSync(home)
  const places = { HOME: home, TMPDIR: home, XDG_CACHE_HOME: home, ORT_DISABLE_TELEMETRY: '' }
  const { code } = await run('natural exit without dispose', places)
  expect({ code, files: readdirSync(home, { recursive: true }) }).toEqual({ code: 0, files: [] })
})
