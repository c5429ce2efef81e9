/** The sampler alone draws exactly what a model's step draws from the same logits, and refuses what a step refuses. */

import { expect, it } from 'vitest'
import type { NativeSampler, NativeSamplerSpec } from '../../native/binding.ts'
import { seededRandom } from '../support/seeded-random.ts'
import { VOCAB } from '../support/tiny-llama.ts'
import { binding, greedySpec, readyModel, scratchFolder, stepRuns } from '../support/tiny-model.ts'

const NUM_ROWS = 6

function makeSampler(): NativeSampler {
  const { Sampler } = binding()
  return new Sampler({ maxNumSeqs: 8, maxLogitsRows: NUM_ROWS, vocabSize: VOCAB })
}

const specs: readonly NativeSamplerSpec[] = [
  greedySpec(),
  greedySpec({ temperature: 0.8, topP: 0.9, seed: 7n }),
  greedySpec({ temperature: 1.3, topK: 12, minP: 0.01, seed: 8n, choice: 3 }),
  greedySpec({ presencePenalty: 1, frequencyPenalty: 0.5, outputIds: Int32Array.of(3, 3, 9) }),
  greedySpec({ repetitionPenalty: 1.5, promptIds: Int32Array.of(1, 2, 3) }),
  greedySpec({
    temperature: 0.5,
    logitBiasIds: Int32Array.of(5, 6),
    logitBiasValues: Float32Array.of(4, -4),
    stopTokenIds: Int32Array.of(0),
    minTokens: 4,
  }),
]

it('draws, counts and reports as a step does', async () => {
  const { path, remove } = scratchFolder()
  const model = await readyModel(path, 'F32')
  const sampler = makeSampler()
  try {
    for (const [slot, spec] of specs.entries()) {
      model.setSampler(slot, spec)
      sampler.setSampler(slot, spec)
    }
    const random = seededRandom(3)
    // Twice, so that what the first draw counted shows in the second.
    for (let round = 0; round < 2; round++) {
      const runs = specs.map((_, index) => ({
        tokens: [random.below(VOCAB), random.below(VOCAB)],
        start: 0,
        blocks: [index],
      }))
      await stepRuns(model, runs)
      for (const { buffers } of [model, sampler]) {
        for (let row = 0; row < NUM_ROWS; row++) {
          buffers.samplerSlots[row] = row
          buffers.samplePositions[row] = 2 + round
          buffers.targetIds[row] = -1
          buffers.topLogprobCounts[row] = row === 0 ? -1 : 5
        }
      }
      sampler.buffers.logits.set(model.buffers.logits.subarray(0, NUM_ROWS * VOCAB))
      await model.step(2 * NUM_ROWS, NUM_ROWS, NUM_ROWS)
      sampler.sample(NUM_ROWS)
      for (const name of ['sampledIds', 'sampledLogprobs', 'sampledRanks'] as const) {
        expect(sampler.buffers[name], name).toEqual(model.buffers[name].subarray(0, NUM_ROWS))
      }
      expect(sampler.buffers.topIds).toEqual(model.buffers.topIds.subarray(0, NUM_ROWS * 20))
      expect(sampler.buffers.topLogprobs).toEqual(
        model.buffers.topLogprobs.subarray(0, NUM_ROWS * 20),
      )
    }
  } finally {
    model.dispose()
    remove()
  }
})

it('refuses sizes, slots, counts and parameters by code, and draws nothing then', () => {
  const { Sampler } = binding()
  const sampler = makeSampler()
  const codeOf = (call: () => unknown): unknown => {
    try {
      call()
      return 'nothing thrown'
    } catch (error) {
      return (error as { code?: unknown }).code
    }
  }
  const sizes = { maxNumSeqs: 8, maxLogitsRows: 6, vocabSize: 96 }
  expect(codeOf(() => new Sampler({ ...sizes, vocabSize: 0 }))).toBe('NATIVE_BAD_OPTION')
  expect(codeOf(() => new Sampler({ ...sizes, maxLogitsRows: 2 ** 31 }))).toBe('NATIVE_BAD_OPTION')
  expect(codeOf(() => sampler.setSampler(8, greedySpec()))).toBe('NATIVE_BAD_SAMPLER')
  expect(codeOf(() => sampler.setSampler(0, greedySpec({ topP: 0 })))).toBe('NATIVE_BAD_SAMPLER')
  expect(codeOf(() => sampler.clearSampler(8))).toBe('NATIVE_BAD_SAMPLER')
  expect(codeOf(() => sampler.sample(7))).toBe('NATIVE_BAD_STEP')
  sampler.buffers.samplerSlots[0] = 2
  sampler.buffers.targetIds[0] = -1
  expect(codeOf(() => sampler.sample(1))).toBe('NATIVE_BAD_STEP')
  expect(codeOf(() => sampler.sample(0))).toBe('nothing thrown')
})
