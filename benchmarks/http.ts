/**
 * `npm run bench:http`: goodput over HTTP, Ingot and (when installed) llama.cpp's server in turns: for each rate, each
 * server gets the same requests at the same times. Servers run one at a time loaded, so that each has the machine.
 */

import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { openModelAccess } from '../src/cli/model-access.ts'
import { packageFiles } from '../src/cli/package-files.ts'
import { loadConfig } from '../src/config/load-config.ts'
import { goodput, type LoadResult, runLoad } from './http-load.ts'
import { type HttpServerUnderTest, startServer } from './http-servers.ts'
import { describeMachine } from './machine.ts'
import { keepJson } from './report.ts'

interface HttpOptions {
  readonly rates: string
  readonly requests: string
  readonly threads: string
  readonly peersDir: string
  readonly keep: boolean
}

const TARGET = { timeToFirstTokenMs: 1000, interTokenMs: 50 }

const program = new Command('bench:http')
  .description(
    'Goodput over HTTP under Poisson arrivals, beside llama.cpp’s server when it is installed.',
  )
  .option('--rates <list>', 'requests per second to try', '1,2,4,6,8,12,16,20')
  .option('--requests <n>', 'requests at each rate', '60')
  .option('--threads <n>', 'compute threads of each server', '2')
  .option(
    '--peers-dir <path>',
    'folder the peers were installed in',
    join(homedir(), '.cache/ingot-peers'),
  )
  .option('--no-keep', 'do not write a record under benchmarks/results')
  .addHelpText('after', '\nExample:\n  npm run bench:http -- --rates 4,8,16 --requests 100')

await run(program.parse().opts<HttpOptions>())

async function run(options: HttpOptions): Promise<void> {
  const { root } = packageFiles()
  const access = await openModelAccess(
    loadConfig({ configFile: undefined, flags: {} }).config.store,
  )
  const { path, digest } = await access.fetch(access.reference(null))
  await access.store.close()
  const servers = await startAll(options, root, path)
  const results = new Map<string, LoadResult[]>(servers.map(({ name }) => [name, []]))
  try {
    for (const rate of options.rates.split(',').map(Number)) {
      for (const server of servers) {
        const known = results.get(server.name) ?? []
        const last = known.at(-1)
        // A server that has failed half of its requests in time only gets slower.
        if (last !== undefined && last.attainment < 0.5) continue
        const load = { ...server, rate, numRequests: Number(options.requests), seed: rate * 1009 }
        const result = await runLoad(load, TARGET)
        known.push(result)
        console.error(`${server.name} at ${rate}/s: ${describe(result)}`)
      }
    }
  } finally {
    for (const server of servers) await server.close()
  }
  const systems = servers.map(({ name }) => ({
    name,
    goodput: goodput(results.get(name) ?? []),
    results: results.get(name),
  }))
  for (const { name, goodput: rate } of systems) console.log(`${name}: ${rate} requests/s in time`)
  const shape =
    'log-normal prompts (median 60 words) and answers (median 90 tokens), greedy, no shared prefixes'
  const record = {
    benchmark: 'http-goodput',
    machine: describeMachine(),
    modelDigest: digest,
    threads: Number(options.threads),
    target: TARGET,
    shape,
    systems,
  }
  if (options.keep)
    console.log(
      `record: ${keepJson(record, record.machine, record.benchmark, join(root, 'benchmarks/results'))}`,
    )
  console.log(JSON.stringify(record))
}

async function startAll(
  options: HttpOptions,
  root: string,
  model: string,
): Promise<HttpServerUnderTest[]> {
  const ingot = [
    'bin/ingot.mjs',
    'serve',
    '--port',
    '8101',
    '--threads',
    options.threads,
    '--log-level',
    'error',
  ].map((arg) => (arg === 'bin/ingot.mjs' ? join(root, arg) : arg))
  const servers = [
    await startServer({
      name: 'ingot',
      command: process.execPath,
      args: ingot,
      port: 8101,
      model: 'smollm2-135m-instruct',
    }),
  ]
  const llama = join(options.peersDir, 'llama.cpp/build/bin/llama-server')
  const requantized = join(options.peersDir, 'smollm2-q4_0.gguf')
  if (!existsSync(llama) || !existsSync(requantized)) {
    console.error(
      `skipped: llama.cpp (${llama} or ${requantized} is missing; see benchmarks/README.md). Its weights would be ${model} in Q4_0`,
    )
    return servers
  }
  const args = [
    '-m',
    requantized,
    '-t',
    options.threads,
    '-np',
    '32',
    '-c',
    '32768',
    '--port',
    '8102',
    '--no-webui',
  ]
  servers.push(
    await startServer({ name: 'llama.cpp', command: llama, args, port: 8102, model: 'smollm2' }),
  )
  return servers
}

function describe(result: LoadResult): string {
  const { timeToFirstTokenMs: first, interTokenMs: gap } = result
  return `${(100 * result.attainment).toFixed(0)} % in time, first token p50 ${first.p50.toFixed(0)} p99 ${first.p99.toFixed(0)} ms, gap p50 ${gap.p50.toFixed(1)} p99 ${gap.p99.toFixed(1)} ms, ${result.outputTokensPerSecond.toFixed(0)} tokens/s, ${result.numFailed} failed`
}
