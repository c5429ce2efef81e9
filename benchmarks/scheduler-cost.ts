/**
 * What deciding costs, in real time: `schedule`, filling the batch and committing, with 512 sequences that decode, beside
 * few and many that wait. Nothing is computed. Owns nothing.
 */

import type { SequenceId } from '../src/base/ids.ts'
import { commitStep } from '../src/engine/commit.ts'
import { InputBatch } from '../src/engine/input-batch.ts'
import { makeSequence } from '../src/engine/make-sequence.ts'
import { Scheduler } from '../src/engine/scheduler.ts'
import { DEFAULT_SAMPLING_PARAMS } from '../src/sampling/sampling-params.ts'
import { SimulatedExecutor, SMALL_MODEL } from './simulated-executor.ts'
import { percentile } from './statistics.ts'

export interface SchedulerCost {
  readonly numRunning: number
  readonly numWaiting: number
  /** Milliseconds of a step. */
  readonly p50: number
  readonly p99: number
}

const NUM_WARM_STEPS = 300
const NUM_STEPS = 1000
const LIMITS = {
  maxNumBatchedTokens: 2048,
  maxLogitsRows: 1024,
  blockSize: 16,
  maxBlocksPerSeq: 128,
  vocabSize: 1000,
}

export function schedulerCost(numRunning: number, numWaiting: number): SchedulerCost {
  const sizes = { maxNumSeqs: numRunning, numBlocks: LIMITS.maxBlocksPerSeq * numRunning }
  const limits = { ...LIMITS, ...sizes }
  const { arrays } = new SimulatedExecutor(limits, SMALL_MODEL, () => {})
  const scheduler = new Scheduler(limits, { targetItl: 'auto' })
  const batch = new InputBatch(limits, arrays)
  const numDrawn = new Uint8Array(numRunning)
  for (let id = 0; id < numRunning + numWaiting; id++) scheduler.add(stream(id, limits))
  const step = (): number => {
    const startMs = performance.now()
    scheduler.schedule(0)
    for (const sequence of scheduler.admitted) batch.takeSlot(sequence)
    batch.fill(scheduler.running)
    commitStep(batch, 0, numDrawn)
    scheduler.removeFinished()
    return performance.now() - startMs
  }
  for (let index = 0; index < NUM_WARM_STEPS; index++) step()
  const times = Array.from({ length: NUM_STEPS }, step).sort((a, b) => a - b)
  const [p50, p99] = [percentile(times, 0.5), percentile(times, 0.99)]
  return { numRunning: scheduler.running.length, numWaiting: scheduler.numWaiting, p50, p99 }
}

function stream(id: number, limits: SimulatedExecutor['limits']) {
  const spec = {
    id: id as SequenceId,
    promptIds: new Int32Array(3),
    params: { ...DEFAULT_SAMPLING_PARAMS, seed: 1n, maxTokens: 2000, ignoreEos: true },
    choice: 0,
    cacheDomain: new Int32Array(4),
    tier: id % 3 === 0 ? 'flex' : 'default',
    tenant: `tenant ${id % 97}`,
    maxQueueMs: null,
  } as const
  return makeSequence(
    spec,
    { limits, maxContextTokens: 2048, eosTokenIds: [], adapters: null },
    0,
    id,
  )
}
