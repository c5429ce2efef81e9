import { describe, expect, it } from 'vitest'
import { growthOf } from '../../../benchmarks/leak-check.ts'
import { readStatus } from '../../../benchmarks/processes.ts'
import { readDivergence } from '../../../benchmarks/quality.ts'
import { formatStart, judgeStart, type StartRecord } from '../../../benchmarks/start-report.ts'

const same = (value: number) => ({ min: value, median: value, max: value })

const RECORD: StartRecord = {
  benchmark: 'start-and-memory',
  machine: { cpu: 'c', cores: 2, memoryGiB: 1, node: 'v20', commit: 'abc', date: '2026-01-01' },
  model: { id: 'm', digest: 'd', quantization: 'Q4_0' },
  threads: 2,
  runs: 1,
  weightsHeldAs: 'mapped',
  weightsBytes: 100e6,
  kvBytes: 50e6,
  kvBytesPerToken: { f32: 40, bf16: 20, f16: 20, int8: 12 },
  kvBytesPerTokenOfEngine: 20,
  loadMs: same(200),
  processToEngineMs: same(300),
  engineRssBytes: same(150e6),
  healthyMs: same(900),
  firstTokenMs: same(1001),
  served: { apiBytes: 120e6, engineBytes: 200e6 },
  leak: null,
}

describe('judgeStart', () => {
  it('holds what was measured against the promises', () => {
    const verdicts = judgeStart(RECORD)
    expect(verdicts.map(({ measured, most, isMet }) => [measured, most, isMet])).toEqual([
      [200, 300, true],
      [1001, 1000, false],
      [200, 315, true],
      [320, 315, false],
    ])
    expect(formatStart(RECORD, verdicts)).toContain('1001 ms, target ≤ 1000 ms: MISSED')
  })

  it('counts growth between the lowest points of the halves after the settling', () => {
    const sample = (requests: number, apiBytes: number, engineBytes: number) => {
      return { requests, apiBytes, engineBytes }
    }
    const settling = [sample(10, 1, 1), sample(20, 2, 1)]
    const first = [sample(30, 90, 50), sample(40, 100, 40)]
    const second = [sample(50, 200, 45), sample(60, 96, 70)]
    const samples = [...settling, ...first, ...second]
    expect(growthOf(samples, 30)).toEqual({ growthBytes: 11, growthBytesPerRequest: 11 / 15 })
    expect(growthOf(samples, 60)).toEqual({ growthBytes: 0, growthBytesPerRequest: 0 })
  })
})

it('reads resident memory of Linux', () => {
  const text = 'Name:\tnode\nVmRSS:\t    1000 kB\nRssAnon:\t     400 kB\nRssFile:\t 600 kB\n'
  expect(readStatus(text)).toEqual({ totalBytes: 1_024_000, anonymousBytes: 409_600 })
})

describe('readDivergence', () => {
  it('reads what llama-perplexity prints', () => {
    const text =
      'Mean    KLD:   0.002830 ±   0.000099\nMaximum KLD:   0.1\nSame top p: 95.938 ± 0.781 %\n'
    expect(readDivergence(text)).toEqual({
      meanKl: 0.00283,
      topAgreement: 0.95938,
      meanKlError: 0.000099,
    })
  })

  it('says what came when there is none', () => {
    expect(() => readDivergence('error: no file')).toThrow('printed no divergence: error: no file')
  })
})
