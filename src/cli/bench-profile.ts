/**
 * `ingot bench profile MODEL`: where a step's time goes, operator by operator, for one prompt and for decoding. Loads the
 * engine in this process. Prints a table a case, or JSON.
 *
 * The counters cost about 0.1 µs a node. Times are the compute thread's, with the other threads at work inside it; what
 * is left between operators is ONNX Runtime's.
 */

import type { SequenceId } from '../base/ids.ts'
import { loadConfig } from '../config/load-config.ts'
import { PLAIN_SCHEDULING } from '../engine/scheduling-options.ts'
import type { OperatorTime } from '../execution/executor-facts.ts'
import { DEFAULT_SAMPLING_PARAMS } from '../sampling/sampling-params.ts'
import { type LoadedEngine, loadEngine } from '../worker/load-engine.ts'
import { flagsOf } from './config-flags.ts'
import { cliError } from './errors.ts'
import { openModelAccess } from './model-access.ts'
import { abortOnSignal } from './signals.ts'

export interface ProfileCase {
  readonly name: string
  readonly numSeqs: number
  readonly promptTokens: number
  readonly outputTokens: number
}

/** Times of a case's steps: those of the prompt, or those that decode. */
export interface CaseProfile extends ProfileCase {
  readonly steps: number
  readonly times: readonly OperatorTime[]
}

const DECODE_STEPS = 32
const WHO = { tier: 'default', tenant: 'profile', maxQueueMs: null } as const
const KV_MEMORY_BYTES = 2 ** 30

export async function benchProfile(
  written: string | undefined,
  parsed: Readonly<Record<string, unknown>>,
): Promise<void> {
  const configFile = parsed.config as string | undefined
  const { config } = loadConfig({ configFile, flags: flagsOf(parsed) })
  const count = (name: string) => readCount(`--${name}`, parsed[name])
  const promptTokens = count('prompt')
  const numSeqs = count('sequences')
  const access = await openModelAccess(config.store)
  const { signal, stopListening } = abortOnSignal()
  try {
    const reference = access.reference(written ?? config.model.name)
    const { path } = await access.fetch(reference, { signal })
    const { threads, activations, kvDtype, blockSize, maxNumBatchedTokens } = config.engine
    const engine = await loadEngine({
      checkpointPath: path,
      weights: config.model.weights,
      ...{ threads, activations, kvDtype, blockSize, maxNumBatchedTokens },
      kvMemoryBytes: config.engine.kvMemoryBytes ?? KV_MEMORY_BYTES,
      maxNumSeqs: Math.max(numSeqs, 1),
      maxContextTokens: promptTokens + DECODE_STEPS + 1,
      eosTokenIds: [],
      scheduling: PLAIN_SCHEDULING,
    })
    try {
      const profiles = [
        await profileCase(engine, {
          name: 'prompt',
          numSeqs: 1,
          promptTokens,
          outputTokens: 1,
        }),
        await profileCase(engine, {
          name: 'decoding',
          numSeqs,
          promptTokens,
          outputTokens: DECODE_STEPS + 1,
        }),
      ]
      const { kernels } = engine.executor.facts
      const machine = { kernels, threads, activations, kvDtype }
      const text =
        parsed.json === true
          ? JSON.stringify({ model: reference.name, ...machine, profiles }, null, 2)
          : profileText(profiles, `${kernels}, ${threads} threads, ${activations}, KV ${kvDtype}`)
      process.stdout.write(`${text}\n`)
    } finally {
      await engine.executor.close()
    }
  } finally {
    stopListening()
    await access.store.close()
  }
}

/** Run a case twice and keep the second; prompts are the same tokens each time, since no KV is found again. */
async function profileCase(engine: LoadedEngine, wanted: ProfileCase): Promise<CaseProfile> {
  await runCase(engine, wanted)
  return runCase(engine, wanted)
}

let nextId = 1

async function runCase(
  { core, executor, description }: LoadedEngine,
  wanted: ProfileCase,
): Promise<CaseProfile> {
  const { numSeqs, promptTokens, outputTokens } = wanted
  const switchProfile = executor.switchProfile?.bind(executor)
  if (switchProfile === undefined) {
    const expected = 'a model that runs on operators of Ingot'
    const next = 'give its safetensors folder or GGUF file instead of the export'
    throw cliError('CLI_BAD_ARGUMENT', {
      param: 'model',
      details: { expected, got: 'an exported ONNX graph', next },
    })
  }
  const params = { ...DEFAULT_SAMPLING_PARAMS, temperature: 0, seed: 0n, ignoreEos: true }
  const firstId = nextId
  nextId += numSeqs
  for (let index = 0; index < numSeqs; index++) {
    const promptIds = Int32Array.from(
      { length: promptTokens },
      (_, position) => (position * 7919 + index * 104_729) % description.vocabSize,
    )
    const id = (firstId + index) as SequenceId
    const drawn = { params: { ...params, maxTokens: outputTokens }, choice: 0 }
    core.add({ id, promptIds, ...drawn, cacheDomain: new Int32Array(4), ...WHO })
  }
  const started = new Set<number>()
  const isDecoding = outputTokens > 1
  switchProfile(!isDecoding)
  let steps = 0
  while (core.hasWork) {
    // Decoding is measured from the step after every sequence has its first token.
    if (isDecoding && started.size === numSeqs && steps === 0) switchProfile(true)
    const isCounted = !isDecoding || started.size === numSeqs
    const { updates } = await core.step()
    if (isCounted) steps += 1
    for (const update of updates) {
      if (update.error !== null) throw new Error(update.error.message)
      if (update.tokenIds.length > 0) started.add(update.id)
    }
  }
  return { ...wanted, steps, times: switchProfile(false) }
}

/** One table a case, the most expensive first. */
export function profileText(profiles: readonly CaseProfile[], machine: string): string {
  const parts = profiles.map((profile) => {
    const { name, numSeqs, promptTokens, steps, times } = profile
    const whole = times.find(({ operator }) => operator === 'step')?.microseconds ?? 0
    const operators = times.filter(({ operator }) => operator !== 'step')
    const known = operators.reduce((sum, { microseconds }) => sum + microseconds, 0)
    const calls = operators.reduce((sum, time) => sum + time.calls, 0)
    const between = {
      operator: 'between operators',
      detail: '',
      calls,
      microseconds: whole - known,
    }
    const rows = [...operators, between].sort((a, b) => b.microseconds - a.microseconds)
    const sequences = numSeqs === 1 ? '1 sequence' : `${numSeqs} sequences`
    const title = `${name}: ${sequences}, prompts of ${promptTokens} tokens, ${steps} steps, ${milliseconds(whole / Math.max(steps, 1))} ms a step (${machine})`
    const cells = rows.map(({ operator, detail, calls, microseconds }) => [
      detail === '' ? operator : `${operator} ${detail}`,
      String(calls),
      milliseconds(microseconds / Math.max(steps, 1)),
      (microseconds / Math.max(calls, 1)).toFixed(1),
      `${((microseconds / Math.max(whole, 1)) * 100).toFixed(1)} %`,
    ])
    return `${title}\n${table([['operator', 'calls', 'ms a step', 'µs a call', 'share'], ...cells])}`
  })
  return parts.join('\n\n')
}

function milliseconds(microseconds: number): string {
  return (microseconds / 1000).toFixed(3)
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  )
  return rows
    .map((row) => {
      const cells = row.map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      return `  ${cells.join('  ')}`
    })
    .join('\n')
}

function readCount(flag: string, written: unknown): number {
  const value = Number(written)
  if (Number.isSafeInteger(value) && value >= 1 && value <= 2 ** 20) return value
  throw cliError('CLI_BAD_ARGUMENT', {
    param: flag,
    details: {
      expected: `${flag} from 1 to ${2 ** 20}`,
      got: String(written),
      next: 'give a whole number',
    },
  })
}
