/**
 * The real engine core, scheduler and policies against a cost model instead of a model, in
 * virtual time. Thousands of sequences take seconds, so that a policy or a default can be judged before it is measured.
 *
 * Owns the virtual clock. What is computed is nothing; what it would have cost moves the clock. Answers are noise, so
 * guesses of repeated text have no place here.
 */

import type { Clock } from '../src/base/clock.ts'
import type { SequenceId } from '../src/base/ids.ts'
import { EngineCore } from '../src/engine/engine-core.ts'
import type { BatchLimits } from '../src/engine/executor.ts'
import type { SchedulingOptions } from '../src/engine/scheduling-options.ts'
import { DEFAULT_SAMPLING_PARAMS } from '../src/sampling/sampling-params.ts'
import { SimulatedExecutor, type StepCost } from './simulated-executor.ts'
import type { Arrival } from './traces.ts'

export interface SimulationOptions {
  readonly limits: BatchLimits
  readonly maxContextTokens: number
  readonly cost: StepCost
  readonly scheduling: SchedulingOptions
  /** What a step takes on a machine that has other work too; absent = what it costs. */
  readonly noise?: (ms: number) => number
  /** Called after each step; for tests that check invariants. */
  readonly onStep?: (core: EngineCore) => void
}

/** What became of one arrival; milliseconds of virtual time. */
export interface Outcome {
  readonly arrival: Arrival
  readonly firstTokenMs: number | null
  readonly gapsMs: readonly number[]
  readonly endMs: number
  /** `refused`: at the door, or given up while it waited. */
  readonly end: 'finished' | 'refused' | 'failed'
  readonly numTokens: number
  readonly numCachedTokens: number
}

export interface Simulation {
  readonly outcomes: readonly Outcome[]
  readonly totalMs: number
  readonly numSteps: number
  readonly numPreemptions: number
  /** Rows over all steps: of prompts, streams and guesses, computed again ones too. */
  readonly numComputedTokens: number
  readonly numDraftTokens: number
  readonly numAcceptedDrafts: number
}

class VirtualClock implements Clock {
  ms = 0
  nowMs(): number {
    return this.ms
  }
  wallMs(): number {
    return this.ms
  }
}

interface Running {
  readonly arrival: Arrival
  firstTokenMs: number | null
  lastTokenMs: number
  readonly gapsMs: number[]
  numTokens: number
}

/** Run a trace to its end. @param arrivals - in order of time */
export async function simulate(
  arrivals: readonly Arrival[],
  options: SimulationOptions,
): Promise<Simulation> {
  const clock = new VirtualClock()
  const executor = new SimulatedExecutor(options.limits, options.cost, (ms) => {
    clock.ms += options.noise?.(ms) ?? ms
  })
  const core = new EngineCore({
    executor,
    clock,
    maxContextTokens: options.maxContextTokens,
    eosTokenIds: [],
    scheduling: options.scheduling,
    hashKey: [1, 2],
  })
  const running = new Map<SequenceId, Running>()
  const outcomes: Outcome[] = []
  let next = 0
  let numComputedTokens = 0
  while (next < arrivals.length || core.hasWork) {
    if (!core.hasWork) clock.ms = Math.max(clock.ms, arrivals[next]?.atMs ?? clock.ms)
    for (; next < arrivals.length && (arrivals[next]?.atMs ?? 0) <= clock.ms; next++)
      arrive(core, arrivals[next] as Arrival, next + 1, running, outcomes, clock.ms)
    if (!core.hasWork) continue
    const { updates } = await core.step()
    numComputedTokens += core.stats().numScheduledTokens
    for (const update of updates) {
      const one = running.get(update.id)
      if (one === undefined) continue
      for (let index = 0; index < update.tokenIds.length; index++) {
        // Tokens of one step come together.
        if (one.firstTokenMs === null) one.firstTokenMs = clock.ms
        else one.gapsMs.push(clock.ms - one.lastTokenMs)
        one.lastTokenMs = clock.ms
      }
      one.numTokens += update.tokenIds.length
      if (update.finish === null) continue
      running.delete(update.id)
      const isRefused = update.error?.code === 'ENGINE_QUEUE_TIMEOUT'
      const end = update.error === null ? 'finished' : isRefused ? 'refused' : 'failed'
      const numCachedTokens = update.timing?.numCachedTokens ?? 0
      outcomes.push({ ...one, endMs: clock.ms, end, numCachedTokens })
    }
    options.onStep?.(core)
  }
  const { numSteps, numPreemptions, numDraftTokens, numAcceptedDrafts } = core.stats()
  const counts = { numSteps, numPreemptions, numDraftTokens, numAcceptedDrafts, numComputedTokens }
  return { outcomes, totalMs: clock.ms, ...counts }
}

function arrive(
  core: EngineCore,
  arrival: Arrival,
  id: number,
  running: Map<SequenceId, Running>,
  outcomes: Outcome[],
  nowMs: number,
): void {
  const { promptIds, maxTokens, tier, tenant, maxQueueMs } = arrival
  const common = { choice: 0, cacheDomain: new Int32Array(4), tier, tenant, maxQueueMs }
  const params = { ...DEFAULT_SAMPLING_PARAMS, ignoreEos: true, seed: BigInt(id), maxTokens }
  const one = { arrival, firstTokenMs: null, lastTokenMs: 0, gapsMs: [], numTokens: 0 }
  try {
    core.add({ id: id as SequenceId, promptIds, params, ...common })
    running.set(id as SequenceId, one)
  } catch (error) {
    if ((error as { code?: string }).code !== 'ENGINE_QUEUE_TOO_LONG') throw error
    outcomes.push({ ...one, endMs: nowMs, end: 'refused', numCachedTokens: 0 })
  }
}
