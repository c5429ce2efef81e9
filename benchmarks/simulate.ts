/**
 * `npm run bench:simulate`: every trace with the default policies and with all of them off, side by side, and what deciding
 * a step costs beside a short and a long queue.
 */

import { PLAIN_SCHEDULING, type SchedulingOptions } from '../src/engine/scheduling-options.ts'
import { schedulerCost } from './scheduler-cost.ts'
import { SMALL_MODEL } from './simulated-executor.ts'
import { figuresOf, formatFigures, type SimulationFigures } from './simulation-report.ts'
import { simulate } from './simulator.ts'
import { TRACES, type TraceName } from './traces.ts'

const [numSequences = 2000, rate = 14] = process.argv.slice(2).map(Number)
const DEFAULTS: SchedulingOptions = { prefixCache: true, targetItl: 'auto', maxDraftTokens: 16 }
const limits = {
  maxNumBatchedTokens: 512,
  maxNumSeqs: 64,
  maxBlocksPerSeq: 256,
  maxLogitsRows: 256,
  blockSize: 32,
  numBlocks: 4096,
  vocabSize: 49_152,
}

const record: { trace: string; policies: string; figures: SimulationFigures }[] = []
for (const [trace, make] of Object.entries(TRACES) as [TraceName, typeof TRACES.poisson][]) {
  const arrivals = make({ numSequences, rate, vocabSize: limits.vocabSize, seed: 1 })
  for (const [policies, scheduling] of Object.entries({ off: PLAIN_SCHEDULING, on: DEFAULTS })) {
    const options = { limits, maxContextTokens: 8192, cost: SMALL_MODEL, scheduling }
    const figures = figuresOf(await simulate(arrivals, options))
    record.push({ trace, policies, figures })
    console.log(formatFigures(`${trace}, policies ${policies}`, figures))
  }
}
const decisions = [0, 100, 10_000].map((numWaiting) => schedulerCost(512, numWaiting))
for (const { numRunning, numWaiting, p50, p99 } of decisions) {
  const times = `${p50.toFixed(3)} / ${p99.toFixed(3)} ms`
  console.log(`deciding a step, ${numRunning} running, ${numWaiting} waiting: p50 / p99 ${times}`)
}
console.log(
  JSON.stringify({
    benchmark: 'simulation',
    numSequences,
    rate,
    cost: SMALL_MODEL,
    record,
    decisions,
  }),
)
