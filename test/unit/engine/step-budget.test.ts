import { expect, it } from 'vitest'
import { StepBudget } from '../../../src/engine/step-budget.ts'
import { StepCostModel } from '../../../src/engine/step-cost-model.ts'
import { makeTestSequence } from '../../support/engine-builders.ts'
import { makeLimits } from '../../support/fake-executor.ts'

const limits = makeLimits({
  maxNumBatchedTokens: 256,
  numBlocks: 256,
  maxBlocksPerSeq: 256,
  maxLogitsRows: 8,
})

/** A model of 2 ms and a millisecond a token, and a step of one stream and a long prompt that takes what `msOf` says. */
function makeStep(msOf: (prompt: number) => number) {
  const model = new StepCostModel()
  for (let index = 0; index < 400; index++) model.observe(1 + (index % 64), 0, 0, 3 + (index % 64))
  const budget = new StepBudget(limits, model, 20)
  const stream = makeTestSequence(1, limits, { promptTokens: 1 })
  const prompt = makeTestSequence(2, limits, { promptTokens: 900 })
  return () => {
    budget.begin()
    budget.takeDecode(stream, 1)
    budget.openPrompts()
    const numTokens = budget.fitPrompt(prompt, 900)
    budget.takePrompt(prompt, numTokens)
    budget.learn(msOf(numTokens))
    return numTokens
  }
}

it('gives prompts less when rows beside streams take longer than the model says', () => {
  const step = makeStep((prompt) => 3 + 2 * prompt)
  const first = step()
  const last = Array.from({ length: 60 }, step).at(-1) as number
  expect(first).toBeGreaterThan(14)
  expect(3 + 2 * last).toBeLessThan(22)
})

it('does not give prompts more when they take less', () => {
  const step = makeStep((prompt) => 3 + prompt / 2)
  const first = step()
  expect(Array.from({ length: 60 }, step).at(-1)).toBe(first)
})
