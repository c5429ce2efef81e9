import { describe, expect, it } from 'vitest'
import { DEFAULT_SAMPLING_PARAMS } from '../../../src/sampling/sampling-params.ts'
import {
  makeSamplingParams,
  type PartialSamplingParams,
} from '../../../src/sampling/validate-sampling-params.ts'

const make = (parts: object) =>
  makeSamplingParams({ seed: 7n, maxTokens: 10, ...parts } as PartialSamplingParams)

describe('makeSamplingParams', () => {
  it('fills in the defaults', () => {
    expect(make({})).toEqual({ ...DEFAULT_SAMPLING_PARAMS, seed: 7n, maxTokens: 10 })
    expect(make({ topP: undefined, temperature: 0 })).toMatchObject({ topP: 1, temperature: 0 })
  })

  it('freezes what it returns, and keeps no list of the caller', () => {
    const stopTokenIds = [1, 2]
    const params = make({ stopTokenIds, logitBias: [[3, -100]] })
    stopTokenIds.push(3)
    expect(params.stopTokenIds).toEqual([1, 2])
    for (const each of [params, params.stopTokenIds, params.logitBias, params.logitBias[0]]) {
      expect(Object.isFrozen(each)).toBe(true)
    }
  })

  it.each([
    { temperature: 0 },
    { temperature: 2 },
    { topP: 1 },
    { topP: 1e-6 },
    { topK: 2 ** 31 - 1 },
    { minP: 1 },
    { presencePenalty: -2 },
    { frequencyPenalty: 2 },
    { repetitionPenalty: 0.01 },
    { seed: 2n ** 64n - 1n },
    { seed: 0n },
    { maxTokens: 1 },
    { minTokens: 10 },
    { topLogprobs: 20 },
    { topLogprobs: null },
    { promptLogprobs: 0 },
    { logitBias: [[0, 100]] },
  ])('takes the edge of a range: %o', (parts) => {
    expect(make(parts)).toMatchObject(parts)
  })

  it.each([
    ['temperature', -0.1],
    ['temperature', 2.1],
    ['temperature', Number.NaN],
    ['temperature', null],
    ['topP', 0],
    ['topP', 1.01],
    ['topK', -1],
    ['topK', 1.5],
    ['topK', 2 ** 31],
    ['minP', -0.01],
    ['minP', '0.5'],
    ['presencePenalty', 2.5],
    ['frequencyPenalty', Number.POSITIVE_INFINITY],
    ['repetitionPenalty', 0],
    ['maxTokens', 0],
    ['minTokens', 11],
    ['minTokens', -1],
    ['topLogprobs', 21],
    ['promptLogprobs', -1],
    ['seed', -1n],
    ['seed', 2n ** 64n],
    ['seed', 5],
    ['ignoreEos', 1],
    ['stopTokenIds', [1.5]],
    ['stopTokenIds', [-1]],
    ['stopTokenIds', 'abc'],
    ['logitBias', [[1, 101]]],
    ['logitBias', [[1, Number.NaN]]],
    ['logitBias', [[-1, 1]]],
  ])('refuses %s = %s by name', (param, value) => {
    expect(() => make({ [param]: value })).toThrow(
      expect.objectContaining({ code: 'SAMPLING_OUT_OF_RANGE', status: 400, param }),
    )
  })

  it.each([
    ['logitBias', Array.from({ length: 1025 }, (_, index) => [index, 1])],
    ['stopTokenIds', Array.from({ length: 1025 }, (_, index) => index)],
  ])('refuses too many entries in %s', (param, value) => {
    expect(() => make({ [param]: value })).toThrow(
      expect.objectContaining({ code: 'SAMPLING_TOO_MANY_ENTRIES', param }),
    )
  })

  it('refuses what it does not know, instead of ignoring it', () => {
    expect(() => make({ toString: 1 })).toThrow(expect.objectContaining({ param: 'toString' }))
    expect(() => make({ topA: 0.5 })).toThrow(
      expect.objectContaining({ code: 'SAMPLING_UNKNOWN_PARAMETER', param: 'topA' }),
    )
  })

  it('says what was expected, what came and what to do', () => {
    expect(() => make({ topP: 0 })).toThrow(
      'expected topP to be a number above 0, up to 1, got 0: change it or leave it out',
    )
  })
})
