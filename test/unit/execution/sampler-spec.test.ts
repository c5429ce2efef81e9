import { expect, it } from 'vitest'
import { samplerSpec } from '../../../src/execution/sampler-spec.ts'
import { makeSamplingParams } from '../../../src/sampling/validate-sampling-params.ts'

it('says every parameter of the sampler in its own words', () => {
  const params = makeSamplingParams({
    temperature: 0.7,
    topP: 0.9,
    topK: 40,
    minP: 0.05,
    presencePenalty: 0.5,
    frequencyPenalty: -0.5,
    repetitionPenalty: 1.1,
    seed: 2n ** 64n - 1n,
    maxTokens: 9,
    minTokens: 3,
    stopTokenIds: [2, 5],
    logitBias: [
      [7, -100],
      [1, 0.5],
    ],
  })
  const promptIds = Int32Array.of(1, 2)
  const outputIds = Int32Array.of(3)
  expect(samplerSpec(params, { choice: 4, promptIds, outputIds })).toEqual({
    temperature: 0.7,
    topP: 0.9,
    topK: 40,
    minP: 0.05,
    presencePenalty: 0.5,
    frequencyPenalty: -0.5,
    repetitionPenalty: 1.1,
    seed: 2n ** 64n - 1n,
    choice: 4,
    stopTokenIds: Int32Array.of(2, 5),
    minTokens: 3,
    logitBiasIds: Int32Array.of(7, 1),
    logitBiasValues: Float32Array.of(-100, 0.5),
    promptIds,
    outputIds,
  })
})
