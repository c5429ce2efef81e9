/** Whole traces through the real engine in virtual time: what holds for every one of them, and what policies are for. */

import { describe, expect, it } from 'vitest'
import { SMALL_MODEL } from '../../benchmarks/simulated-executor.ts'
import { figuresOf } from '../../benchmarks/simulation-report.ts'
import { type Outcome, simulate } from '../../benchmarks/simulator.ts'
import { type Arrival, TRACES, type TraceName } from '../../benchmarks/traces.ts'
import type { SchedulingOptions } from '../../src/engine/scheduling-options.ts'
import { PLAIN_SCHEDULING } from '../../src/engine/scheduling-options.ts'

const DEFAULTS: SchedulingOptions = { prefixCache: true, targetItl: 'auto', maxDraftTokens: 16 }
const limits = {
  maxNumBatchedTokens: 512,
  maxNumSeqs: 32,
  maxBlocksPerSeq: 160,
  maxLogitsRows: 128,
  blockSize: 32,
  numBlocks: 320,
  vocabSize: 1000,
}
const run = (
  arrivals: readonly Arrival[],
  scheduling: SchedulingOptions,
  isChecked = false,
  numBlocks = limits.numBlocks,
) =>
  simulate(arrivals, {
    limits: { ...limits, numBlocks },
    maxContextTokens: 5000,
    cost: SMALL_MODEL,
    scheduling,
    // Budgets, memory, queues and counts, after every step (S1–S4, B1–B2, C2, W2–W4).
    ...(isChecked ? { onStep: (core) => core.checkIntegrity() } : {}),
  })

describe.each(Object.keys(TRACES) as TraceName[])('the trace %s', (trace) => {
  const arrivals = TRACES[trace]({ numSequences: 150, rate: 12, vocabSize: 1000, seed: 5 })

  it('ends for everyone, with every token, nothing leaked, and the same work whatever the policies', async () => {
    const [off, on] = [
      await run(arrivals, PLAIN_SCHEDULING, true),
      await run(arrivals, DEFAULTS, true),
    ]
    for (const { outcomes } of [off, on]) {
      expect(outcomes).toHaveLength(arrivals.length)
      for (const { arrival, end, numTokens } of outcomes)
        expect([end, numTokens]).toEqual(['finished', arrival.maxTokens])
    }
    expect(on.numPreemptions + off.numPreemptions).toBeGreaterThanOrEqual(0)
  })
})

const firstMs = ({ firstTokenMs, arrival }: Outcome): number => (firstTokenMs ?? 0) - arrival.atMs

const arrival = (change: Partial<Arrival>): Arrival => ({
  atMs: 0,
  promptIds: new Int32Array(100),
  maxTokens: 20,
  tier: 'default',
  tenant: 'large',
  maxQueueMs: null,
  ...change,
})

describe('policies, in virtual time', () => {
  it('one tenant’s thousand requests do not starve another one’s', async () => {
    const flood = Array.from({ length: 1000 }, () => arrival({}))
    const { outcomes, totalMs } = await run(
      [...flood, arrival({ atMs: 1, tenant: 'small' })],
      PLAIN_SCHEDULING,
    )
    const small = outcomes.find((one) => one.arrival.tenant === 'small') as Outcome
    expect(firstMs(small)).toBeLessThan(totalMs / 20)
  })

  it('flex waits while others come without end, but not for ever', async () => {
    const steady = Array.from({ length: 600 }, (_, index) => arrival({ atMs: index * 5 }))
    const trace = [arrival({ tier: 'flex', tenant: 'f' }), ...steady]
    const { outcomes, totalMs } = await run(trace, PLAIN_SCHEDULING)
    const flex = outcomes.find((one) => one.arrival.tier === 'flex') as Outcome
    expect(flex.endMs).toBeLessThan(totalMs / 2)
  })

  it('a long prompt leaves the streams beside it at most twice as slow', async () => {
    const streams = Array.from({ length: 16 }, () => arrival({ maxTokens: 600 }))
    const warm = [...streams, arrival({ atMs: 1500, promptIds: new Int32Array(300), maxTokens: 1 })]
    const trace = [...warm, arrival({ atMs: 2500, promptIds: new Int32Array(4000), maxTokens: 1 })]
    const worst = async (scheduling: SchedulingOptions): Promise<number> => {
      const { outcomes } = await run(trace, scheduling, false, 1024)
      const gaps = outcomes.filter(({ numTokens }) => numTokens === 600).map(({ gapsMs }) => gapsMs)
      const usual = gaps[0]?.[100] as number
      return Math.max(...gaps.flatMap((all) => all.slice(200))) / usual
    }
    expect(await worst({ ...PLAIN_SCHEDULING, targetItl: 'auto' })).toBeLessThan(2.1)
    expect(await worst(PLAIN_SCHEDULING)).toBeGreaterThan(10)
  })

  it('who asks not to wait is refused early, and who is let in begins in time', async () => {
    const trace = Array.from({ length: 400 }, (_, index) =>
      arrival({ atMs: index * 10, maxQueueMs: 500 }),
    )
    const { outcomes } = await run(trace, { ...PLAIN_SCHEDULING, targetItl: 'auto' })
    const refused = outcomes.filter(({ end }) => end === 'refused')
    expect(refused.length).toBeGreaterThan(50)
    for (const one of outcomes) {
      if (one.end === 'finished') expect(firstMs(one)).toBeLessThan(1000)
      else expect(one.endMs - one.arrival.atMs).toBeLessThan(600)
    }
  })

  it('a shared prefix is computed once', async () => {
    const trace = TRACES['shared-prefix']({ numSequences: 200, rate: 8, vocabSize: 1000, seed: 9 })
    const [off, on] = [await run(trace, PLAIN_SCHEDULING), await run(trace, DEFAULTS)].map(
      figuresOf,
    )
    expect(on?.cachedShare).toBeGreaterThan(0.8)
    expect(on?.timeToFirstToken[0] as number).toBeLessThan((off?.timeToFirstToken[0] as number) / 5)
  })
})
