/**
 * `npm run bench:start`: what a start costs in time and memory, and whether memory grows with requests. Starts `ingot
 * serve` as a user does, several times, with its weights packed by a start that is not counted. Linux only (/proc).
 */

import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Command } from 'commander'
import { KV_DTYPES, type KvDtype } from '../src/base/kv-dtype.ts'
import { packageFiles } from '../src/cli/package-files.ts'
import { loadConfig } from '../src/config/load-config.ts'
import { readModelFacts } from '../src/deployment/model-facts.ts'
import { PLAIN_SCHEDULING } from '../src/engine/scheduling-options.ts'
import type { EngineOptions } from '../src/worker/messages.ts'
import { openModel } from './compare.ts'
import { type HttpServerUnderTest, ingotCommand, startServer } from './http-servers.ts'
import { checkLeaks } from './leak-check.ts'
import type { LoadedOnce } from './load-once.ts'
import { describeMachine } from './machine.ts'
import { residentMemory } from './processes.ts'
import { keepJson } from './report.ts'
import { formatStart, judgeStart, type StartRecord } from './start-report.ts'
import { type Spread, spread } from './statistics.ts'

interface StartOptions {
  readonly model?: string
  readonly runs: string
  readonly requests: string
  readonly concurrency: string
  readonly kvMib: string
  readonly threads: string
  readonly keep: boolean
}

const PORT = 8103

const program = new Command('bench:start')
  .description(
    'Load time of packed weights, time to the first token of a cold process, resident memory after loading, KV bytes a token, and growth of memory over many requests.',
  )
  .option('--model <name>', 'catalog name, path or source; the default model otherwise')
  .option('--runs <n>', 'starts that are counted, after one that packs', '5')
  .option('--requests <n>', 'small requests for the check of leaks; 0 = none', '10000')
  .option('--concurrency <n>', 'of them at once', '32')
  .option('--kv-mib <n>', 'KV memory; small, because the leak check fills it first', '64')
  .option('--threads <n>', 'compute threads', '2')
  .option('--no-keep', 'do not write a record under benchmarks/results')
  .addHelpText(
    'after',
    '\nExamples:\n  npm run bench:start\n  npm run bench:start -- --runs 1 --requests 300 --no-keep',
  )

await run(program.parse().opts<StartOptions>())

async function run(options: StartOptions): Promise<void> {
  const { root } = packageFiles()
  const { store } = loadConfig({ configFile: undefined, flags: {} }).config
  const model = await openModel(store, options.model ?? null)
  const folder = await mkdtemp(join(tmpdir(), 'ingot-start-'))
  try {
    const kvMemoryBytes = Number(options.kvMib) * 2 ** 20
    const engine: EngineOptions = {
      checkpointPath: model.path,
      packs: { ...store.packs, modelDigest: model.record.digest },
      threads: Number(options.threads),
      activations: 'int8',
      kvDtype: 'bf16',
      kvMemoryBytes,
      blockSize: 32,
      maxNumBatchedTokens: 512,
      maxNumSeqs: 64,
      maxContextTokens: 2 ** 20,
      eosTokenIds: [],
      scheduling: PLAIN_SCHEDULING,
    }
    const runs = Number(options.runs)
    const load = await measureLoad(engine, runs)
    const args = [model.path, '--threads', options.threads, '--kv-memory', `${options.kvMib}MiB`]
    const command = ingotCommand(root, PORT, [...args, '--audit-log', join(folder, 'audit.jsonl')])
    const start = () => startServer({ ...command, pollMs: 5 })
    const cold = await measureColdStarts(start, runs)
    const server = await start()
    try {
      const memory = await measureMemory(server)
      const numRequests = Number(options.requests)
      const leak =
        numRequests === 0
          ? null
          : await checkLeaks({
              server,
              enginePid: memory.enginePid,
              numRequests,
              settleRequests: numRequests / 5,
              poolTokens: load.last.description.numBlocks * load.last.description.blockSize,
              concurrency: Number(options.concurrency),
              onProgress: (line) => console.error(line),
            })
      const facts = await readModelFacts(model.path)
      const kvBytesPerToken = Object.fromEntries(
        KV_DTYPES.map((dtype) => [dtype, facts.kvBytesPerToken(dtype)]),
      ) as Record<KvDtype, number>
      const { description } = load.last
      const record: StartRecord = {
        benchmark: 'start-and-memory',
        machine: describeMachine(),
        model: model.record,
        threads: Number(options.threads),
        runs,
        weightsHeldAs: description.weightsHeldAs,
        weightsBytes: description.weightsBytes,
        kvBytes: description.numBlocks * description.blockSize * description.kvBytesPerToken,
        kvBytesPerToken,
        kvBytesPerTokenOfEngine: description.kvBytesPerToken,
        loadMs: load.loadMs,
        processToEngineMs: load.processMs,
        engineRssBytes: load.rssBytes,
        healthyMs: cold.healthyMs,
        firstTokenMs: cold.firstTokenMs,
        served: { apiBytes: memory.apiBytes, engineBytes: memory.engineBytes },
        leak,
      }
      const verdicts = judgeStart(record)
      console.log(formatStart(record, verdicts))
      const kept = { ...record, verdicts }
      if (options.keep)
        console.log(
          `record: ${keepJson(kept, record.machine, record.benchmark, join(root, 'benchmarks/results'))}`,
        )
      console.log(JSON.stringify(kept))
    } finally {
      await server.close()
    }
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** The first run packs, when nothing is packed yet, and is not counted. */
async function measureLoad(
  engine: EngineOptions,
  runs: number,
): Promise<{ loadMs: Spread; processMs: Spread; rssBytes: Spread; last: LoadedOnce }> {
  const loads: LoadedOnce[] = []
  const processMs: number[] = []
  for (let index = 0; index <= runs; index += 1) {
    const startMs = performance.now()
    const script = join(import.meta.dirname, 'load-once.js')
    const { stdout } = await promisify(execFile)(process.execPath, [script, JSON.stringify(engine)])
    const loaded = JSON.parse(stdout) as LoadedOnce
    if (index === 0) continue
    loads.push(loaded)
    processMs.push(performance.now() - startMs)
  }
  return {
    loadMs: spread(loads.map(({ description }) => description.loadMs)),
    processMs: spread(processMs),
    rssBytes: spread(loads.map(({ rssBytes }) => rssBytes)),
    last: loads.at(-1) as LoadedOnce,
  }
}

/** From the moment a process is started until it is healthy, and until its first token has arrived. */
async function measureColdStarts(
  start: () => Promise<HttpServerUnderTest>,
  runs: number,
): Promise<{ healthyMs: Spread; firstTokenMs: Spread }> {
  const healthy: number[] = []
  const first: number[] = []
  for (let index = 0; index <= runs; index += 1) {
    const startMs = performance.now()
    const server = await start()
    const healthyAfterMs = performance.now() - startMs
    try {
      await firstToken(server)
      const firstAfterMs = performance.now() - startMs
      console.error(
        `start ${index}: healthy ${healthyAfterMs.toFixed(0)} ms, first token ${firstAfterMs.toFixed(0)} ms`,
      )
      if (index === 0) continue
      healthy.push(healthyAfterMs)
      first.push(firstAfterMs)
    } finally {
      await server.close()
    }
  }
  return { healthyMs: spread(healthy), firstTokenMs: spread(first) }
}

async function firstToken(server: HttpServerUnderTest): Promise<void> {
  const body = { model: server.model, prompt: 'Once upon a time', max_tokens: 1, stream: true }
  const response = await fetch(`${server.baseUrl}/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...body, temperature: 0, ignore_eos: true }),
  })
  if (!response.ok || response.body === null) throw new Error(`status ${response.status}`)
  for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
    if (piece.includes('data: {')) return
  }
  throw new Error('the first answer had no token')
}

/** After the first answer: until then, parts of the weights may not have been read. */
async function measureMemory(
  server: HttpServerUnderTest,
): Promise<{ enginePid: number; apiBytes: number; engineBytes: number }> {
  await firstToken(server)
  const response = await fetch(server.baseUrl.replace('/v1', '/health'))
  const { replicas } = (await response.json()) as {
    readonly replicas: readonly { readonly pid: number }[]
  }
  const enginePid = replicas[0]?.pid ?? 0
  const [apiBytes, engineBytes] = [server.pid, enginePid].map(
    (pid) => residentMemory(pid).totalBytes,
  ) as [number, number]
  return { enginePid, apiBytes, engineBytes }
}
