import { describe, expect, it } from 'vitest'
import { StepCostModel } from '../../../src/engine/step-cost-model.ts'
import { seededRandom } from '../../support/seeded-random.ts'

/** 2 ms, 0.25 ms a token, 3 µs a thousand keys, 0.1 ms a logits row: about the default model on two cores. */
const trueMs = (tokens: number, keys: number, rows: number): number =>
  2 + 0.25 * tokens + 3e-6 * keys + 0.1 * rows

function mixedSteps(model: StepCostModel, count: number, noise: (ms: number) => number): void {
  const { below } = seededRandom(7)
  for (let index = 0; index < count; index++) {
    const streams = below(32)
    const prompt = index % 3 === 0 ? below(480) : 0
    if (streams + prompt === 0) continue
    const keys = streams * 600 + prompt * below(4000)
    const ms = trueMs(streams + prompt, keys, streams)
    model.observe(streams + prompt, keys, streams, noise(ms))
  }
}

describe('StepCostModel', () => {
  it('learns what tokens, keys and rows cost', () => {
    const model = new StepCostModel()
    mixedSteps(model, 600, (ms) => ms)
    expect(model.baseMs).toBeCloseTo(2, 1)
    expect(model.tokenMs).toBeCloseTo(0.25, 2)
    expect(model.keyMs * 1e6).toBeCloseTo(3, 0)
    expect(model.logitsRowMs).toBeCloseTo(0.1, 1)
  })

  it('predicts within a tenth under noise, and pauses of a hundred milliseconds do not move it', () => {
    const model = new StepCostModel()
    const { next } = seededRandom(11)
    mixedSteps(model, 2000, (ms) => ms * (0.9 + 0.2 * next()) + (next() < 0.02 ? 100 : 0))
    for (const [tokens, keys, rows] of [
      [1, 600, 1],
      [16, 9600, 16],
      [32, 19_200, 32],
      [512, 600_000, 1],
    ] as const) {
      const ratio = model.predictMs(tokens, keys, rows) / trueMs(tokens, keys, rows)
      expect(Math.abs(ratio - 1)).toBeLessThan(0.12)
    }
  })

  it('follows a machine that becomes twice as slow', () => {
    const model = new StepCostModel()
    mixedSteps(model, 600, (ms) => ms)
    mixedSteps(model, 600, (ms) => 2 * ms)
    expect(model.predictMs(128, 10_000, 16) / trueMs(128, 10_000, 16)).toBeCloseTo(2, 0)
  })

  it('is not thrown off when prompts come again after a long time of streams only', () => {
    const model = new StepCostModel()
    mixedSteps(model, 600, (ms) => ms)
    for (let index = 0; index < 20_000; index++) model.observe(8, 4800, 8, trueMs(8, 4800, 8))
    model.observe(264, 100_000, 8, trueMs(264, 100_000, 8) * 1.3)
    const ratio = model.predictMs(264, 100_000, 8) / trueMs(264, 100_000, 8)
    expect(Math.abs(ratio - 1)).toBeLessThan(0.35)
  })

  it('tells a slow moment of the machine from prompts that are dear', () => {
    const model = new StepCostModel()
    mixedSteps(model, 600, (ms) => ms)
    const shareOf = (): number => (model.tokenMs * 32) / model.predictMs(16, 9600, 16)
    const before = shareOf()
    for (let index = 0; index < 100; index++)
      model.observe(48, 80_000, 16, 3 * trueMs(48, 80_000, 16))
    expect(model.predictMs(16, 9600, 16) / trueMs(16, 9600, 16)).toBeGreaterThan(2.5)
    expect(Math.abs(shareOf() / before - 1)).toBeLessThan(0.15)
  })

  it('affords little while it knows little, and more with each step', () => {
    const model = new StepCostModel()
    for (let index = 0; index < 200; index++) model.observe(16, 4000, 16, trueMs(16, 4000, 16))
    const afforded = Array.from({ length: 12 }, () => {
      const tokens = Math.max(1, model.affordableTokens(20, 100, 500))
      const keys = 4000 + tokens * 100
      model.observe(16 + tokens, keys, 16, trueMs(16 + tokens, keys, 16))
      return tokens
    })
    expect(afforded[0]).toBeLessThan(40)
    expect(afforded.at(-1)).toBeGreaterThan(50)
    expect(afforded.at(-1)).toBeLessThanOrEqual(80)
  })

  it('never says that more work is cheaper', () => {
    const model = new StepCostModel()
    for (let index = 1; index < 200; index++) model.observe(index, 1000 * index, 1, 200 - index)
    expect(model.tokenMs).toBeGreaterThan(0)
    expect(model.keyMs).toBeGreaterThanOrEqual(0)
  })

  it('affords no more tokens than the prediction allows, and most of them', () => {
    const model = new StepCostModel()
    mixedSteps(model, 600, (ms) => ms)
    for (const position of [0, 100, 4000]) {
      const tokens = model.affordableTokens(20, position, 1000)
      const cost = (n: number) =>
        model.tokenMs * n + model.keyMs * (n * position + (n * (n + 1)) / 2)
      expect(cost(tokens)).toBeLessThanOrEqual(20)
      expect(cost(tokens)).toBeGreaterThan(17)
    }
    expect([model.affordableTokens(0, 0, 9), model.affordableTokens(1e9, 0, 9)]).toEqual([0, 9])
  })
})
