import { describe, expect, it } from 'vitest'
import { LoadVerdict } from '../../../benchmarks/load-verdict.ts'
import { planLoad } from '../../../benchmarks/request-mix.ts'

const TARGET = { timeToFirstTokenMs: 1000, interTokenMs: 50 }

describe('LoadVerdict', () => {
  it('lets one gap in a hundred be late and not two', () => {
    const verdict = new LoadVerdict(TARGET, 1, 100)
    verdict.onFirstToken(1000)
    for (let index = 0; index < 98; index++) verdict.onGap(50)
    verdict.onGap(51)
    expect(verdict.isInTime).toBe(true)
    verdict.onGap(51)
    expect(verdict.isInTime).toBe(false)
  })

  it('counts a share of all first tokens that were planned, before all have come', () => {
    const verdict = new LoadVerdict(TARGET, 200, 1000)
    verdict.onFirstToken(2000)
    verdict.onFirstToken(2000)
    expect(verdict.isInTime).toBe(true)
    verdict.onFirstToken(1001)
    expect(verdict.isInTime).toBe(false)
  })

  it('allows no failure', () => {
    const verdict = new LoadVerdict(TARGET, 1000, 1000)
    verdict.onFailure()
    expect([verdict.isInTime, verdict.numFailed]).toEqual([false, 1])
  })

  it('tells percentiles, and nothing where nothing came', () => {
    const verdict = new LoadVerdict(TARGET, 2, 10)
    verdict.onFirstToken(100)
    verdict.onFirstToken(200)
    expect(verdict.firstTokenMs).toEqual({ p50: 150, p99: 199 })
    expect(verdict.interTokenMs).toBeNull()
    expect(verdict.numTokens).toBe(2)
  })
})

describe('planLoad', () => {
  it('plans the same load from the same seed', () => {
    expect(planLoad(3, 50, 9)).toEqual(planLoad(3, 50, 9))
    expect(planLoad(3, 50, 9)).not.toEqual(planLoad(3, 50, 10))
  })

  it('has the rate, the medians and the limits that it says', () => {
    const plan = planLoad(4, 4000, 1)
    const median = (values: number[]) => values.sort((a, b) => a - b)[2000] as number
    const words = plan.map(({ prompt }) => prompt.split(' ').length)
    const tokens = plan.map(({ outputTokens }) => outputTokens)
    expect((plan.at(-1)?.dueMs ?? 0) / 1000).toBeCloseTo(1000, -2)
    expect(Math.abs(median(words) - 60)).toBeLessThan(4)
    expect(Math.abs(median(tokens) - 90)).toBeLessThan(5)
    expect([Math.min(...words), Math.max(...words) <= 900]).toEqual([8, true])
    expect([Math.min(...tokens) >= 4, Math.max(...tokens)]).toEqual([true, 400])
  })
})
