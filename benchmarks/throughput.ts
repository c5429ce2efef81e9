/**
 * Runs trials over systems, interleaved: in each round every system answers every trial once, so that a machine that
 * slows down slows all of them. The first round warms up and is not counted.
 */

import type { BatchRequest, BenchSystem } from './bench-system.ts'
import type { TrialResult } from './report.ts'
import { seededRandom, spread } from './statistics.ts'
import type { BatchTrial } from './trials.ts'

export interface ThroughputOptions {
  readonly trials: readonly BatchTrial[]
  readonly systems: readonly BenchSystem[]
  readonly rounds: number
  /** Prompts are random ids in 100 … vocabSize; the same for every system. */
  readonly vocabSize: number
  readonly onProgress: (line: string) => void
}

export async function measureThroughput(options: ThroughputOptions): Promise<TrialResult[]> {
  const samples = new Map<string, number[]>()
  for (let round = 0; round <= options.rounds; round += 1) {
    for (const trial of options.trials) {
      // New prompts each round: no system may answer from a prefix cache.
      const request = makeRequest(trial, round, options.vocabSize)
      for (const system of options.systems) {
        const measure = await system.run(request)
        const value =
          trial.figure === 'decode'
            ? measure.decodeTokens / measure.decodeSeconds
            : (trial.numSeqs * trial.promptTokens) / measure.prefillSeconds
        options.onProgress(
          `${round === 0 ? 'warm-up' : `round ${round}`}  ${trial.name}  ${system.name}  ${value.toFixed(0)} tokens/s`,
        )
        if (round > 0) append(samples, `${trial.name} ${system.name}`, value)
      }
    }
  }
  return options.trials.flatMap((trial) =>
    options.systems.map((system) => ({
      trial: trial.name,
      system: system.name,
      figure: trial.figure,
      numSeqs: trial.numSeqs,
      promptTokens: trial.promptTokens,
      outputTokens: trial.outputTokens,
      tokensPerSecond: spread(samples.get(`${trial.name} ${system.name}`) ?? [0]),
      rounds: options.rounds,
    })),
  )
}

function makeRequest(trial: BatchTrial, round: number, vocabSize: number): BatchRequest {
  const random = seededRandom(round * 7919 + trial.numSeqs * 131 + trial.promptTokens)
  const token = () => 100 + Math.floor(random() * (vocabSize - 100))
  const prompts = Array.from({ length: trial.numSeqs }, () =>
    Array.from({ length: trial.promptTokens }, token),
  )
  return { prompts, outputTokens: trial.outputTokens }
}

function append(samples: Map<string, number[]>, key: string, value: number): void {
  const values = samples.get(key) ?? []
  values.push(value)
  samples.set(key, values)
}
