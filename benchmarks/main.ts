/**
 * `npm run bench`: the engine's throughput, alone or side by side with peers in one interleaved run. Prints progress, a
 * table, what was met and missed, and as its last line one JSON object; the record is kept under `benchmarks/results/`.
 */

import { homedir } from 'node:os'
import { join } from 'node:path'
import { Command, InvalidArgumentError, Option } from 'commander'
import type { KvDtype } from '../src/base/kv-dtype.ts'
import { packageFiles } from '../src/cli/package-files.ts'
import { loadConfig } from '../src/config/load-config.ts'
import {
  type CompareOptions,
  compareAdHoc,
  comparePreset,
  engineOptions,
  openModel,
} from './compare.ts'
import { formatVerdicts } from './judge.ts'
import { describeMachine } from './machine.ts'
import { PEERS, readPeerNames } from './peers.ts'
import { measurePolicy, POLICIES, type PolicyName, type PolicyResult } from './policies.ts'
import { findPreset, PRESETS } from './presets.ts'
import { formatQuality } from './quality.ts'
import { type BenchRecord, formatTable, keepJson, keepRecord } from './report.ts'
import { ALL_TRIALS, chooseTrials, THROUGHPUT_TRIALS } from './trials.ts'

interface BenchOptions {
  readonly model?: string
  readonly preset?: string
  readonly threads: number
  readonly rounds: number
  readonly trials?: string
  readonly peers?: string
  readonly peersDir: string
  readonly activations: 'f32' | 'bf16' | 'int8'
  readonly kv: KvDtype
  readonly policies?: string
  readonly limits?: boolean
  readonly quality?: boolean
  readonly keep: boolean
}

const HELP = `
Presets (each reads one file in every system and says what was met):
${PRESETS.map(({ name, question }) => `  ${name.padEnd(8)} ${question}`).join('\n')}

Trials (default: ${THROUGHPUT_TRIALS.map(({ name }) => name).join(', ')}):
${ALL_TRIALS.map(({ name, question }) => `  ${name.padEnd(16)} ${question}`).join('\n')}

Examples:
  npm run bench
  npm run bench -- --preset targets
  npm run bench -- --preset targets,8-bit,bf16,gemma --rounds 2
  npm run bench -- --peers llama.cpp,openvino --trials decode-1,decode-16,prefill-512
Others: bench:http (goodput over HTTP), bench:start (memory, start, leaks), bench:simulate (policies in virtual time).
How peers are installed: benchmarks/README.md`

const choice = (flags: string, about: string, values: readonly string[], first: string) =>
  new Option(flags, about).choices(values).default(first)

const program = new Command('bench')
  .description(
    'Decode and prefill throughput of the engine, alone or beside peers on the same machine.',
  )
  .option('--model <name>', 'catalog name, path or source; the default model otherwise')
  .option('--preset <names>', 'comparisons with targets, below; comma-separated')
  .option('--threads <n>', 'compute threads of every system', count, 2)
  .option('--rounds <n>', 'counted rounds after one warm-up; medians are printed', count, 3)
  .option('--trials <names>', 'comma-separated names from below, or "all"')
  .option(
    '--peers <names>',
    `comma-separated, or "all": ${PEERS.join(', ')}; presets take all, otherwise none`,
  )
  .option(
    '--peers-dir <path>',
    'folder the peers were installed in',
    join(homedir(), '.cache/ingot-peers'),
  )
  .addOption(choice('--activations <type>', 'of Ingot’s products', ['f32', 'bf16', 'int8'], 'int8'))
  .addOption(choice('--kv <type>', 'of Ingot’s KV', ['f32', 'bf16', 'f16', 'int8'], 'bf16'))
  .option(
    '--policies <names>',
    `measure the scheduler's policies instead, each beside an engine without it: comma-separated, or "all"; known: ${POLICIES.join(', ')}`,
  )
  .option('--limits', 'measure the machine’s limits too; presets do (--no-limits: not)')
  .option('--no-limits')
  .option('--quality', 'measure KL and agreement too; presets do (--no-quality: not)')
  .option('--no-quality')
  .option('--no-keep', 'do not write a record under benchmarks/results')
  .addHelpText('after', HELP)

await run(program.parse().opts<BenchOptions>())

async function run(options: BenchOptions): Promise<void> {
  const { root } = packageFiles()
  const presets = options.preset?.split(',').map(findPreset) ?? []
  for (const [flag, value] of [
    ['--model', options.model],
    ['--policies', options.policies],
  ]) {
    if (presets.length > 0 && value !== undefined) {
      throw new Error(`${flag} and --preset cannot both be given: a preset names its model`)
    }
  }
  const isPreset = presets.length > 0
  const compareOptions: CompareOptions = {
    root,
    store: loadConfig({ configFile: undefined, flags: {} }).config.store,
    threads: options.threads,
    rounds: options.rounds,
    peers: readPeerNames(options.peers ?? (isPreset ? 'all' : '')),
    peersFolder: options.peersDir,
    activations: options.activations,
    kvDtype: options.kv,
    withLimits: options.limits ?? isPreset,
    withQuality: options.quality ?? isPreset,
    onProgress: (line) => console.error(line),
  }
  if (options.policies !== undefined) {
    await runPolicies(options, options.policies, compareOptions)
    return
  }
  const chosen = options.trials === undefined ? undefined : chooseTrials(options.trials)
  for (const preset of presets) {
    const trials = chosen ?? preset.trials
    show(await comparePreset({ ...preset, trials }, compareOptions), options.keep)
  }
  if (isPreset) return
  const trials = chosen ?? THROUGHPUT_TRIALS
  show(await compareAdHoc(options.model ?? null, trials, compareOptions), options.keep)
}

function show(record: BenchRecord, isKept: boolean): void {
  const { ratios = [], shares = [], quality } = record
  console.log(formatTable(record))
  if (ratios.length + shares.length > 0) console.log(`\n${formatVerdicts(ratios, shares)}`)
  if (quality !== undefined) console.log(formatQuality(quality))
  for (const line of record.skipped) console.log(`skipped: ${line}`)
  const folder = join(packageFiles().root, 'benchmarks/results')
  if (isKept) console.log(`record: ${keepRecord(record, folder)}`)
  console.log(JSON.stringify(record))
}

/** Prints a table and keeps one record for all policies that were asked for. */
async function runPolicies(
  options: BenchOptions,
  names: string,
  compareOptions: CompareOptions,
): Promise<void> {
  const known: readonly string[] = POLICIES
  const wanted = names === 'all' ? known : names.split(',')
  const stranger = wanted.find((name) => !known.includes(name))
  if (stranger !== undefined)
    throw new Error(`unknown policy "${stranger}"; known: ${known.join(', ')}`)
  const { path, record: model } = await openModel(compareOptions.store, options.model ?? null)
  const engine = engineOptions(path, compareOptions)
  const results: PolicyResult[] = []
  for (const name of wanted) {
    const progress = (line: string) => console.error(line)
    results.push(await measurePolicy(name as PolicyName, engine, options.rounds, progress))
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

function count(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1)
    throw new InvalidArgumentError('expected a whole number of 1 or more')
  return value
}
