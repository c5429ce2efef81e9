import { describe, expect, it } from 'vitest'
import { Autoscaler, type LoadSample } from '../../src/deployment/endpoints/autoscaler.ts'
import type { AutoscalingSpec } from '../../src/deployment/endpoints/endpoint-spec.ts'
import { seededRandom } from '../support/seeded-random.ts'

const SPEC: AutoscalingSpec = {
  minReplicas: 1,
  maxReplicas: 8,
  targetLoad: 0.8,
  scaleUpWindowMs: 30_000,
  scaleDownWindowMs: 600_000,
}

interface Change {
  readonly atMs: number
  readonly from: number
  readonly to: number
}

/** Second by second; every change comes true at once. @param load - in replicas' worth, at a time */
function simulate(
  load: (nowMs: number) => number,
  durationMs: number,
  spec: AutoscalingSpec = SPEC,
): { readonly changes: readonly Change[]; readonly numReplicas: number } {
  const scaler = new Autoscaler()
  const changes: Change[] = []
  let numReplicas = Math.max(1, spec.minReplicas)
  for (let nowMs = 0; nowMs < durationMs; nowMs += 1000) {
    const sample: LoadSample = {
      nowMs,
      numReplicas,
      numSequences: load(nowMs) * 10,
      maxNumSeqs: 10,
      kvUse: 0,
      queueWaitMs: 0,
    }
    const next = scaler.next(sample, spec)
    if (next !== numReplicas) changes.push({ atMs: nowMs, from: numReplicas, to: next })
    numReplicas = next
  }
  return { changes, numReplicas }
}

describe('the autoscaler', () => {
  it('goes where a steady load needs it, after the window, and stays', () => {
    expect(simulate(() => 3, 3_600_000).changes).toEqual([{ atMs: 30_000, from: 1, to: 4 }])
    expect(simulate(() => 0.5, 3_600_000).changes).toEqual([])
    expect(simulate(() => 100, 3_600_000).changes).toEqual([{ atMs: 30_000, from: 1, to: 8 }])
  })

  it('goes down after the longer window, to the most that was needed in it', () => {
    const load = (nowMs: number): number => {
      if (nowMs < 100_000) return 4
      return nowMs % 100_000 < 5000 ? 1.5 : 0.1
    }
    expect(simulate(load, 3_600_000).changes).toEqual([
      { atMs: 30_000, from: 1, to: 5 },
      { atMs: 700_000, from: 5, to: 2 },
    ])
  })

  it('does not heed a burst that is shorter than the window', () => {
    const load = (nowMs: number): number => (nowMs % 60_000 < 29_000 ? 6 : 0.1)
    expect(simulate(load, 3_600_000).changes).toEqual([])
  })

  it('does not flap where the load swings over a boundary', () => {
    const random = seededRandom(1)
    const { changes } = simulate(() => 1.55 + 0.1 * random.next(), 7_200_000)
    expect(changes.length).toBeLessThanOrEqual(1)
  })

  it('heeds KV that runs full, and a queue that does not get shorter', () => {
    const base = { numSequences: 1, maxNumSeqs: 10, numReplicas: 2 }
    const next = (change: Partial<LoadSample>): number => {
      const scaler = new Autoscaler()
      let last = 0
      for (let nowMs = 0; nowMs <= 30_000; nowMs += 1000) {
        last = scaler.next({ ...base, nowMs, kvUse: 0, queueWaitMs: 0, ...change }, SPEC)
      }
      return last
    }
    expect(next({})).toBe(2)
    expect(next({ kvUse: 0.95 })).toBe(3)
    expect(next({ queueWaitMs: 5000 })).toBe(3)
  })

  it('begins its windows anew after a gap without samples', () => {
    const scaler = new Autoscaler()
    const sample = { numReplicas: 1, numSequences: 30, maxNumSeqs: 10, kvUse: 0, queueWaitMs: 0 }
    expect(scaler.next({ ...sample, nowMs: 0 }, SPEC)).toBe(1)
    expect(scaler.next({ ...sample, nowMs: 86_400_000 }, SPEC)).toBe(1)
    expect(scaler.next({ ...sample, nowMs: 86_401_000 }, SPEC)).toBe(1)
  })

  it.each(Array.from({ length: 200 }, (_, seed) => seed))(
    'keeps its limits and its windows under any load: walk %d',
    (seed) => {
      const random = seededRandom(seed)
      const maxReplicas = 1 + random.below(8)
      const spec: AutoscalingSpec = {
        minReplicas: random.below(maxReplicas + 1),
        maxReplicas,
        targetLoad: 0.1 + 0.9 * random.next(),
        scaleUpWindowMs: 1000 * random.below(60),
        scaleDownWindowMs: 1000 * random.below(600),
      }
      let level = 0
      const load = (): number => {
        if (random.below(20) === 0) level = 10 * random.next()
        return level
      }
      const { changes } = simulate(load, 1_800_000, spec)
      let lastMs = 0
      for (const { atMs, from, to } of changes) {
        expect(to).toBeGreaterThanOrEqual(Math.max(1, spec.minReplicas))
        expect(to).toBeLessThanOrEqual(maxReplicas)
        const windowMs = to > from ? spec.scaleUpWindowMs : spec.scaleDownWindowMs
        expect(atMs - lastMs).toBeGreaterThanOrEqual(windowMs)
        lastMs = atMs
      }
    },
  )
})
