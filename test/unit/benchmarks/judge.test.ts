import { describe, expect, it } from 'vitest'
import { formatVerdicts, judgeLimits, judgeRatios } from '../../../benchmarks/judge.ts'
import { PRESETS } from '../../../benchmarks/presets.ts'
import type { TrialResult } from '../../../benchmarks/report.ts'
import { ALL_TRIALS } from '../../../benchmarks/trials.ts'
import { workPerToken } from '../../../benchmarks/work-per-token.ts'
import type { TensorInfo } from '../../../src/checkpoint/checkpoint.ts'

function result(trial: string, system: string, median: number): TrialResult {
  const figure = trial.startsWith('prefill') ? 'prefill' : 'decode'
  const shape = { numSeqs: 1, promptTokens: 128, outputTokens: 64, figure } as const
  const tokensPerSecond = { min: median, median, max: median }
  return { trial, system, ...shape, tokensPerSecond, rounds: 3 }
}

function tensor(name: string, shape: readonly number[], byteLength: number): TensorInfo {
  return { name, format: 'F32', shape, file: '', offset: 0, byteLength }
}

const RESULTS = [
  result('decode-1', 'ingot', 300),
  result('decode-1', 'llama.cpp', 200),
  result('decode-1', 'openvino', 100),
  result('prefill-512', 'ingot', 1000),
]

describe('judgeRatios', () => {
  it('compares with the best peer, and leaves out what no peer did', () => {
    const targets = [
      { trial: 'decode-1', ratio: 1.5 },
      { trial: 'prefill-512', ratio: 1.5 },
    ]
    expect(judgeRatios(targets, RESULTS, 'ingot')).toEqual([
      {
        trial: 'decode-1',
        ratio: 1.5,
        tokensPerSecond: 300,
        bestPeer: 'llama.cpp',
        bestPeerTokensPerSecond: 200,
        measured: 1.5,
        isMet: true,
      },
    ])
  })
})

describe('judgeLimits', () => {
  const limits = { threads: 2, readBytesPerSecond: 40_000, int8MacsPerSecond: 1e6 }
  const work = { weightBytes: 100, decodeMacs: 2000, prefillMacs: 500 }

  it('takes the bytes of a token for memory and multiply-adds for the peak', () => {
    const verdicts = judgeLimits(
      [
        { trial: 'decode-1', limit: 'memory', share: 0.8 },
        { trial: 'prefill-512', limit: 'vnni', share: 0.5 },
      ],
      RESULTS,
      'ingot',
      limits,
      work,
    )
    expect(verdicts.map(({ used, measured, isMet }) => [used, measured, isMet])).toEqual([
      [30_000, 0.75, false],
      [500_000, 0.5, true],
    ])
    expect(formatVerdicts([], verdicts)).toContain('= 75 %, target ≥ 80 %: MISSED')
  })

  it('has no share of a peak that the processor does not have', () => {
    const without = { ...limits, int8MacsPerSecond: null }
    const targets = [{ trial: 'prefill-512', limit: 'vnni', share: 0.5 }] as const
    expect(judgeLimits(targets, RESULTS, 'ingot', without, work)).toEqual([])
  })
})

describe('workPerToken', () => {
  const layer = [tensor('blk.0.q.weight', [8, 4], 20), tensor('blk.0.norm.weight', [4], 16)]

  it('reads a tied table once a token, as the head', () => {
    const tensors = [...layer, tensor('token_embd.weight', [100, 4], 250)]
    expect(workPerToken(tensors)).toEqual({ weightBytes: 270, decodeMacs: 432, prefillMacs: 32 })
  })

  it('leaves out a table beside a head', () => {
    const head = tensor('output.weight', [100, 4], 300)
    const tensors = [...layer, tensor('token_embd.weight', [100, 4], 250), head]
    expect(workPerToken(tensors)).toEqual({ weightBytes: 320, decodeMacs: 432, prefillMacs: 32 })
  })

  it('does not guess which experts a token takes', () => {
    expect(workPerToken([...layer, tensor('blk.0.ffn_up_exps.weight', [4, 8, 4], 20)])).toBeNull()
  })
})

describe('presets', () => {
  it('have targets only for trials that they run', () => {
    for (const { trials, ratios, limits } of PRESETS) {
      const names = trials.map(({ name }) => name)
      for (const { trial } of [...ratios, ...limits]) expect(names).toContain(trial)
    }
  })

  it('run trials with names of their own', () => {
    const names = ALL_TRIALS.map(({ name }) => name)
    expect(new Set(names).size).toBe(names.length)
  })
})
