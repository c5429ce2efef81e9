/**
 * `npm run bench`: the engine's throughput, alone or side by side with peers in one interleaved run. Prints progress, a
 * table, and as its last line one JSON object; the record is kept under `benchmarks/results/`.
 */

import { homedir } from 'node:os'
import { basename, join } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import type { KvDtype } from '../src/base/kv-dtype.ts'
import { estimateWeights } from '../src/checkpoint/memory-estimate.ts'
import { openCheckpoint } from '../src/checkpoint/open-checkpoint.ts'
import { openModelAccess } from '../src/cli/model-access.ts'
import { packageFiles } from '../src/cli/package-files.ts'
import { loadConfig } from '../src/config/load-config.ts'
import { PLAIN_SCHEDULING } from '../src/engine/scheduling-options.ts'
import type { EngineOptions } from '../src/worker/messages.ts'
import { startIngot } from './ingot-system.ts'
import { describeMachine } from './machine.ts'
import { PEER_MODEL, startPeers } from './peers.ts'
import { measurePolicy, POLICIES, type PolicyName, type PolicyResult } from './policies.ts'
import { type BenchRecord, formatTable, keepJson, keepRecord } from './report.ts'
import { measureThroughput } from './throughput.ts'
import { ALL_TRIALS, type BatchTrial, THROUGHPUT_TRIALS } from './trials.ts'

interface BenchOptions {
  readonly model?: string
  readonly threads: number
  readonly rounds: number
  readonly trials?: string
  readonly peers: string
  readonly peersDir: string
  readonly activations: 'f32' | 'int8'
  readonly kv: KvDtype
  readonly policies?: string
  readonly keep: boolean
}

const program = new Command('bench')
  .description(
    'Decode and prefill throughput of the engine, alone or beside peers on the same machine.',
  )
  .option('--model <name>', 'catalog name, path or source; the default model otherwise')
  .option('--threads <n>', 'compute threads of every system', count, 2)
  .option('--rounds <n>', 'counted rounds after one warm-up; medians are printed', count, 3)
  .option(
    '--trials <names>',
    `comma-separated names, "all", or the default set; known: ${ALL_TRIALS.map(({ name }) => name).join(', ')}`,
  )
  .option('--peers <names>', 'comma-separated: llama.cpp, openvino', '')
  .option(
    '--peers-dir <path>',
    'folder the peers were installed in',
    join(homedir(), '.cache/ingot-peers'),
  )
  .option('--activations <type>', 'f32 or int8', 'int8')
  .option('--kv <type>', 'f32, bf16, f16 or int8', 'bf16')
  .option(
    '--policies <names>',
    `measure the scheduler's policies instead, each beside an engine without it: comma-separated, or "all"; known: ${POLICIES.join(', ')}`,
  )
  .option('--no-keep', 'do not write a record under benchmarks/results')
  .addHelpText(
    'after',
    '\nExample:\n  npm run bench -- --peers llama.cpp,openvino --trials decode-1,decode-16,prefill-512',
  )

await run(program.parse().opts<BenchOptions>())

async function run(options: BenchOptions): Promise<void> {
  const { root } = packageFiles()
  const trials = chooseTrials(options.trials)
  const access = await openModelAccess(
    loadConfig({ configFile: undefined, flags: {} }).config.store,
  )
  const wanted = options.peers.split(',').filter((name) => name !== '')
  // Beside peers, every system reads the same file.
  const shared = wanted.length > 0 ? join(options.peersDir, PEER_MODEL) : null
  const reference = access.reference(options.model ?? shared)
  const { path, digest } = await access.fetch(reference)
  await access.store.close()
  const checkpoint = await openCheckpoint(path)
  const engineOptions: EngineOptions = {
    checkpointPath: path,
    threads: options.threads,
    activations: options.activations,
    kvDtype: options.kv,
    kvMemoryBytes: 2 * 2 ** 30,
    blockSize: 16,
    maxNumBatchedTokens: 512,
    maxNumSeqs: 64,
    maxContextTokens: 8192,
    eosTokenIds: [],
    scheduling: PLAIN_SCHEDULING,
  }
  const model = {
    id: basename(reference.name),
    digest,
    quantization: estimateWeights(checkpoint)
      .formats.map(({ format }) => format)
      .join('+'),
  }
  if (options.policies !== undefined) {
    await runPolicies(options, options.policies, engineOptions, model)
    return
  }
  const ingot = await startIngot(engineOptions, describeMachine().commit)
  const scripts = join(root, 'benchmarks/peers')
  const peers = await startPeers({
    folder: options.peersDir,
    wanted,
    threads: options.threads,
    scripts,
  })
  const systems = [ingot, ...peers.systems]
  const results = await measureThroughput({
    trials,
    systems,
    rounds: options.rounds,
    vocabSize: ingot.description.vocabSize,
    onProgress: (line) => console.error(line),
  })
  const record: BenchRecord = {
    benchmark: wanted.length > 0 ? 'engine-throughput-peers' : 'engine-throughput',
    machine: describeMachine(),
    model,
    threads: options.threads,
    cacheState: 'weights resident, no prefix cache, fresh prompts each round',
    systems: systems.map(({ name, version, weights }) => ({ name, version, weights })),
    results,
    skipped: peers.skipped,
  }
  for (const system of systems) await system.close()
  console.log(formatTable(record))
  for (const line of record.skipped) console.log(`skipped: ${line}`)
  if (options.keep) console.log(`record: ${keepRecord(record, join(root, 'benchmarks/results'))}`)
  console.log(JSON.stringify(record))
}

/** Prints a table and keeps one record for all policies that were asked for. */
async function runPolicies(
  options: BenchOptions,
  names: string,
  engineOptions: EngineOptions,
  model: BenchRecord['model'],
): Promise<void> {
  const known: readonly string[] = POLICIES
  const wanted = names === 'all' ? known : names.split(',')
  const stranger = wanted.find((name) => !known.includes(name))
  if (stranger !== undefined)
    throw new Error(`unknown policy "${stranger}"; known: ${known.join(', ')}`)
  const results: PolicyResult[] = []
  for (const name of wanted) {
    const progress = (line: string) => console.error(line)
    results.push(await measurePolicy(name as PolicyName, engineOptions, options.rounds, progress))
  }
  for (const { policy, figure, without, with: on, gain, price } of results) {
    const figures = `${without.median.toFixed(2)} → ${on.median.toFixed(2)} ${figure}`
    console.log(`${policy.padEnd(14)} ${figures}: ${gain.toFixed(2)}× better`)
    if (price !== null) {
      const paid = `${price.without.median.toFixed(0)} → ${price.with.median.toFixed(0)}`
      console.log(`${' '.repeat(14)} ${paid} ${price.figure}`)
    }
  }
  const machine = describeMachine()
  const record = { benchmark: 'policies', machine, model, threads: options.threads, results }
  const folder = join(packageFiles().root, 'benchmarks/results')
  if (options.keep) console.log(`record: ${keepJson(record, machine, 'policies', folder)}`)
  console.log(JSON.stringify(record))
}

function chooseTrials(names: string | undefined): readonly BatchTrial[] {
  if (names === undefined) return THROUGHPUT_TRIALS
  if (names === 'all') return ALL_TRIALS
  return names.split(',').map((name) => {
    const trial = ALL_TRIALS.find((known) => known.name === name)
    if (trial === undefined)
      throw new Error(
        `unknown trial "${name}"; known: ${ALL_TRIALS.map((known) => known.name).join(', ')}`,
      )
    return trial
  })
}

function count(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1)
    throw new InvalidArgumentError('expected a whole number of 1 or more')
  return value
}
