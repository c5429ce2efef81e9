/**
 * Runs trials over systems, interleaved: in each round every system answers every trial once, so that a machine that
 * slows down slows all of them. The first round warms up and is not counted.
 *
 * Bounded time, and nothing lost by it:
 * B1 a long trial has no warm-up and two counted rounds at most;
 * B2 a peer below half of the best peer at a trial in a counted round is not asked there again: it cannot become the best.
 * A system that cannot do a trial, or that fails at it, is left out there and named.
 */

import { type BatchRequest, type BenchSystem, CannotMeasure } from './bench-system.ts'
import type { TrialResult } from './report.ts'
import { seededRandom, spread } from './statistics.ts'
import type { BatchTrial } from './trials.ts'

export interface ThroughputOptions {
  readonly trials: readonly BatchTrial[]
  /** The first is the one that is compared with the others. */
  readonly systems: readonly BenchSystem[]
  readonly rounds: number
  /** Prompts are random ids in 100 … vocabSize; the same for every system. */
  readonly vocabSize: number
  readonly onProgress: (line: string) => void
}

export interface Throughput {
  readonly results: readonly TrialResult[]
  /** `system at trial: why`, one each. */
  readonly skipped: readonly string[]
}

const LONG_ROUNDS = 2

export async function measureThroughput(options: ThroughputOptions): Promise<Throughput> {
  const { trials, systems, rounds } = options
  const samples = new Map<string, number[]>()
  const left = new Set<string>()
  const skipped: string[] = []
  for (let round = 0; round <= rounds; round += 1) {
    for (const trial of trials) {
      if (trial.isLong && (round === 0 || round > LONG_ROUNDS)) continue
      // New prompts each round: no system may answer from a prefix cache.
      const request = makeRequest(trial, round, options.vocabSize)
      // Whoever comes first meets a colder machine: they take turns.
      for (const system of rotate(systems, round)) {
        const key = keyOf(trial, system)
        if (left.has(key)) continue
        const value = await measure(trial, system, request).catch((error: unknown) => {
          if (error instanceof CannotMeasure) return error.message
          throw error
        })
        if (typeof value === 'string') {
          left.add(key)
          skipped.push(`${system.name} at ${trial.name}: ${value}`)
          continue
        }
        const name = round === 0 ? 'warm-up' : `round ${round}`
        options.onProgress(`${name}  ${trial.name}  ${system.name}  ${value.toFixed(0)} tokens/s`)
        if (round > 0) append(samples, key, value)
      }
      if (round > 0) for (const slow of farBehind(trial, systems, samples)) left.add(slow)
    }
  }
  return { results: resultsOf(trials, systems, samples), skipped }
}

async function measure(
  trial: BatchTrial,
  system: BenchSystem,
  request: BatchRequest,
): Promise<number> {
  const { prefillSeconds, decodeSeconds, decodeTokens } = await system.run(request)
  if (trial.figure === 'decode') return decodeTokens / decodeSeconds
  if (trial.figure === 'prefill') return (trial.numSeqs * trial.promptTokens) / prefillSeconds
  return (decodeTokens + (trial.latePromptTokens ?? 0)) / decodeSeconds
}

/** B2. @returns keys of peers that need not be asked again */
function farBehind(
  trial: BatchTrial,
  systems: readonly BenchSystem[],
  samples: ReadonlyMap<string, readonly number[]>,
): string[] {
  const peers = systems.slice(1).map((system) => {
    const key = keyOf(trial, system)
    return { key, best: Math.max(0, ...(samples.get(key) ?? [])) }
  })
  const most = Math.max(0, ...peers.map(({ best }) => best))
  return peers.filter(({ best }) => best < most / 2).map(({ key }) => key)
}

function resultsOf(
  trials: readonly BatchTrial[],
  systems: readonly BenchSystem[],
  samples: ReadonlyMap<string, readonly number[]>,
): TrialResult[] {
  return trials.flatMap((trial) =>
    systems.flatMap((system) => {
      const values = samples.get(keyOf(trial, system))
      if (values === undefined) return []
      const { name, figure, numSeqs, promptTokens, outputTokens } = trial
      const shape = {
        trial: name,
        system: system.name,
        figure,
        numSeqs,
        promptTokens,
        outputTokens,
      }
      return [{ ...shape, tokensPerSecond: spread(values), rounds: values.length }]
    }),
  )
}

function makeRequest(trial: BatchTrial, round: number, vocabSize: number): BatchRequest {
  const random = seededRandom(round * 7919 + trial.numSeqs * 131 + trial.promptTokens)
  const prompt = (length: number) =>
    Array.from({ length }, () => 100 + Math.floor(random() * (vocabSize - 100)))
  const prompts = Array.from({ length: trial.numSeqs }, () => prompt(trial.promptTokens))
  const { outputTokens, latePromptTokens } = trial
  if (latePromptTokens === undefined) return { prompts, outputTokens }
  return { prompts, outputTokens, late: [prompt(latePromptTokens)] }
}

function rotate<T>(values: readonly T[], by: number): readonly T[] {
  const start = by % values.length
  return [...values.slice(start), ...values.slice(0, start)]
}

function keyOf(trial: BatchTrial, system: BenchSystem): string {
  return `${trial.name} ${system.name}`
}

function append(samples: Map<string, number[]>, key: string, value: number): void {
  const values = samples.get(key) ?? []
  values.push(value)
  samples.set(key, values)
}
