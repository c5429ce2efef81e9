/**
 * `npm run bench:http`: goodput over HTTP, Ingot and (when installed) llama.cpp's server in turns, each with the same file
 * of weights, the same threads and the same mix of requests. One is loaded at a time, so that each has the machine.
 */

import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { packageFiles } from '../src/cli/package-files.ts'
import { loadConfig } from '../src/config/load-config.ts'
import { openModel } from './compare.ts'
import { findGoodput, type GoodputResult } from './http-goodput.ts'
import {
  type HttpServerUnderTest,
  ingotCommand,
  type ServerCommand,
  startServer,
} from './http-servers.ts'
import { describeMachine } from './machine.ts'
import { keepJson } from './report.ts'

interface HttpOptions {
  readonly model?: string
  readonly minutes: string
  readonly probeSeconds: string
  readonly requests: string
  readonly warmUp: string
  readonly seed: string
  readonly itl: string
  readonly ttft: string
  readonly threads: string
  readonly ingotArgs: string
  readonly llamaArgs: string
  readonly peersDir: string
  readonly keep: boolean
}

/** Ingot's goodput over llama.cpp's server's. */
const TARGET_RATIO = 3
/** A slot for each of 32 requests, each with room for the longest of the mix; no copies of prompts that never return. */
const LLAMA_ARGS = '-np 32 -c 65536 -b 2048 -ub 512 --cont-batching --cache-ram 0 --no-webui'
const SHAPE =
  'open loop, Poisson arrivals, log-normal prompts (median 60 words, up to 900) and answers (median 90 tokens, up to 400), greedy, nothing shared'

const program = new Command('bench:http')
  .description(
    'Goodput over HTTP: the highest rate of Poisson arrivals at which 99 % of the first tokens and of the gaps between tokens are in time and no request fails, beside llama.cpp’s server when it is installed.',
  )
  .option('--model <path>', 'GGUF file for both; otherwise the peers’ smollm2-q4_0.gguf')
  .option('--minutes <n>', 'the search of all servers together ends after so long', '8')
  .option('--probe-seconds <n>', 'arrivals of one probe', '15')
  .option('--requests <n>', 'of one probe at the least', '40')
  .option('--warm-up <n>', 'requests to each server before anything is counted', '32')
  .option('--seed <n>', 'of lengths and arrivals', '1')
  .option('--itl <ms>', 'target for the 99th percentile of gaps', '50')
  .option('--ttft <ms>', 'target for the 99th percentile of first tokens', '1000')
  .option('--threads <n>', 'compute threads of each server', '2')
  .option('--ingot-args <text>', 'further arguments of ingot serve', '')
  .option('--llama-args <text>', 'arguments of llama-server', LLAMA_ARGS)
  .option(
    '--peers-dir <path>',
    'folder the peers were installed in',
    join(homedir(), '.cache/ingot-peers'),
  )
  .option('--no-keep', 'do not write a record under benchmarks/results')
  .addHelpText(
    'after',
    `
Load: ${SHAPE}.
Rates grow from one that is easy until one fails twice, then the gap is halved until the edge is known to 12 %.

Examples:
  npm run bench:http
  npm run bench:http -- --minutes 1 --probe-seconds 4 --requests 10 --no-keep`,
  )

await run(program.parse().opts<HttpOptions>())

async function run(options: HttpOptions): Promise<void> {
  const { root } = packageFiles()
  const { store } = loadConfig({ configFile: undefined, flags: {} }).config
  const shared = join(options.peersDir, 'smollm2-q4_0.gguf')
  const model = await openModel(store, options.model ?? (existsSync(shared) ? shared : null))
  const skipped: string[] = []
  const commands = [
    ingotCommand(root, 8101, [
      model.path,
      '--threads',
      options.threads,
      ...split(options.ingotArgs),
    ]),
    ...llamaCommand(options, model.path, skipped),
  ]
  const target = { timeToFirstTokenMs: Number(options.ttft), interTokenMs: Number(options.itl) }
  const servers: HttpServerUnderTest[] = []
  let systems: GoodputResult[]
  try {
    for (const command of commands) servers.push(await startServer(command))
    systems = await findGoodput({
      servers,
      target,
      search: { growth: 2, precision: 1.12, leastRate: 0.1, tries: 2 },
      probeSeconds: Number(options.probeSeconds),
      leastRequests: Number(options.requests),
      mostSeconds: Number(options.minutes) * 60,
      warmUpRequests: Number(options.warmUp),
      seed: Number(options.seed),
      onProgress: (line) => console.error(line),
    })
  } finally {
    for (const server of servers) await server.close()
  }
  const record = {
    benchmark: 'http-goodput',
    machine: describeMachine(),
    model: model.record,
    threads: Number(options.threads),
    target: { ...target, ratio: TARGET_RATIO },
    shape: SHAPE,
    seed: Number(options.seed),
    commands: commands.map(({ name, args }) => ({ name, args: args.map(withoutHome) })),
    ...compare(systems),
    systems,
    skipped,
  }
  for (const { name, goodput, isSearchComplete } of systems) {
    const note = isSearchComplete ? '' : ' (time ended before the search did: at least this)'
    console.log(`${name}: ${goodput.toFixed(2)} requests/s in time${note}`)
  }
  if (record.ratio !== null) {
    const verdict = record.ratio >= TARGET_RATIO ? 'met' : 'MISSED'
    console.log(`ratio ${record.ratio.toFixed(2)}×, target ≥ ${TARGET_RATIO}×: ${verdict}`)
  }
  for (const line of skipped) console.log(`skipped: ${line}`)
  const folder = join(root, 'benchmarks/results')
  if (options.keep)
    console.log(`record: ${keepJson(record, record.machine, record.benchmark, folder)}`)
  console.log(JSON.stringify(record))
}

/** `null` where there is nothing to divide by. */
function compare(systems: readonly GoodputResult[]): { readonly ratio: number | null } {
  const [own, peer] = systems
  if (own === undefined || peer === undefined || peer.goodput === 0) return { ratio: null }
  return { ratio: own.goodput / peer.goodput }
}

function llamaCommand(options: HttpOptions, model: string, skipped: string[]): ServerCommand[] {
  const command = join(options.peersDir, 'llama.cpp/build/bin/llama-server')
  if (!existsSync(command)) {
    skipped.push(`llama.cpp: ${command} is missing (see benchmarks/README.md)`)
    return []
  }
  const args = ['-m', model, '-t', options.threads, '--port', '8102', ...split(options.llamaArgs)]
  return [{ name: 'llama.cpp', command, args, port: 8102, firstRate: 2 }]
}

function split(text: string): string[] {
  return text.split(' ').filter((word) => word !== '')
}

function withoutHome(text: string): string {
  return text.replace(homedir(), '~')
}
