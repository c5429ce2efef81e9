import { describe, expect, it } from 'vitest'
import { DraftState } from '../../../src/engine/draft-state.ts'
import { canDraft, Drafts } from '../../../src/engine/drafts.ts'
import { NgramIndex } from '../../../src/engine/ngram-index.ts'
import type { Sequence } from '../../../src/engine/sequence.ts'
import { StepCostModel } from '../../../src/engine/step-cost-model.ts'
import {
  makeSpec,
  makeTestEngine,
  makeTestSequence,
  type SpecParts,
  tokensOf,
} from '../../support/engine-builders.ts'
import { FakeExecutor, makeLimits } from '../../support/fake-executor.ts'

const limits = makeLimits({ vocabSize: 100, numBlocks: 64, maxBlocksPerSeq: 64 })

function guessing(promptIds: number[], parts: SpecParts = {}): Sequence {
  const sequence = makeTestSequence(1, limits, { maxTokens: 64, ...parts, promptIds })
  sequence.reserve()
  sequence.draft = new DraftState(sequence.capacity)
  return sequence
}

/** Steps of 2 ms and `tokenMs` a token. */
function modelOf(tokenMs: number): StepCostModel {
  const model = new StepCostModel()
  for (let index = 0; index < 600; index++) {
    const tokens = 1 + (index % 40)
    model.observe(tokens, 0, 0, 2 + tokenMs * tokens)
  }
  return model
}

const guesses = (sequence: Sequence, count: number): number[] =>
  Array.from(sequence.tokenIds.subarray(sequence.numTokens, sequence.numTokens + count))

describe('NgramIndex', () => {
  const find = (...tokenIds: number[]) =>
    new NgramIndex(64).find(Int32Array.from(tokenIds), tokenIds.length)

  it('finds where the last three tokens stood before, the last time', () => {
    expect(find(1, 2, 3, 4, 1, 2, 3, 5, 1, 2, 3)).toBe(7)
    expect(find(1, 2, 3, 4, 5, 2, 3)).toBe(-1)
    expect(find(1, 2)).toBe(-1)
    expect(find(7, 7, 7, 7)).toBe(3)
  })

  it('learns new tokens as they come', () => {
    const index = new NgramIndex(64)
    const tokenIds = Int32Array.of(1, 2, 3, 4, 1, 2, 3, 0)
    expect(index.find(tokenIds, 5)).toBe(-1)
    expect(index.find(tokenIds, 7)).toBe(3)
  })
})

describe('Drafts', () => {
  it('guess what followed, also beyond the end of what is known', () => {
    const drafts = new Drafts(modelOf(0.001), 8)
    const copied = guessing([1, 2, 3, 4, 5, 6, 9, 1, 2, 3])
    copied.draft!.lookup.numRight = 100
    copied.draft!.lookup.numJudged = 101
    drafts.begin(1, 0)
    expect(drafts.propose(copied, 3)).toBe(3)
    expect(guesses(copied, 3)).toEqual([4, 5, 6])
    const periodic = guessing([1, 2, 3, 1, 2, 3])
    periodic.draft!.lookup.numRight = 100
    periodic.draft!.lookup.numJudged = 101
    drafts.begin(1, 0)
    expect(drafts.propose(periodic, 7)).toBe(7)
    expect(guesses(periodic, 7)).toEqual([1, 2, 3, 1, 2, 3, 1])
  })

  it('are as many as bring more than they cost, by their chance to be right', () => {
    const worth = (tokenMs: number, numStreams: number, numRight: number): number => {
      const drafts = new Drafts(modelOf(tokenMs), 16)
      const sequence = guessing([1, 2, 3, 4, 1, 2, 3])
      sequence.draft!.lookup.numRight = numRight
      sequence.draft!.lookup.numJudged = 100
      drafts.begin(numStreams, 0)
      return drafts.propose(sequence, 16)
    }
    // Alone, a row costs a tenth of the step.
    expect([worth(0.2, 1, 95), worth(0.2, 1, 50), worth(0.2, 1, 5)]).toEqual([11, 2, 0])
    // Beside 64 streams it costs what a stream's own row costs, nearly.
    expect([worth(0.2, 64, 95), worth(0.2, 64, 50)]).toEqual([1, 0])
  })

  it('pause when they are wrong, and are tried again', () => {
    const drafts = new Drafts(modelOf(0.2), 4)
    const sequence = guessing([1, 2, 3, 4, 1, 2, 3])
    const proposed = Array.from({ length: 60 }, () => {
      drafts.begin(16, 0)
      sequence.numDraftTokens = drafts.propose(sequence, 4)
      drafts.learn(sequence, 0)
      return sequence.numDraftTokens
    })
    const tried = proposed.flatMap((count, step) => (count > 0 ? [step] : []))
    expect(tried.length).toBeGreaterThan(1)
    expect(tried.length).toBeLessThan(8)
    expect(sequence.draft).toMatchObject({ numAccepted: 0 })
  })

  it.each([
    [{}, true],
    [{ temperature: 0.8, logitBias: [[3, 1]] as [number, number][] }, true],
    [{ presencePenalty: 0.1 }, false],
    [{ frequencyPenalty: 0.1 }, false],
    [{ repetitionPenalty: 1.1 }, false],
  ])('are made for %j: %s', (parts, expected) => {
    expect(canDraft(guessing([1], parts))).toBe(expected)
  })

  it('wait until stop tokens are no longer masked', () => {
    const drafts = new Drafts(modelOf(0.001), 8)
    const sequence = guessing([1, 2, 3, 4, 1, 2, 3], { minTokens: 2 })
    drafts.begin(1, 0)
    expect(drafts.propose(sequence, 8)).toBe(0)
  })
})

describe('an engine with drafts', () => {
  const prompt = Array.from({ length: 12 }, (_, index) => [0, 1, 1][index % 3] as number)

  it('answers as one without, in fewer steps, and counts its guesses', async () => {
    const plain = makeTestEngine()
    const guess = makeTestEngine({ scheduling: { maxDraftTokens: 4 } })
    const spec = makeSpec(1, { promptIds: prompt, maxTokens: 40, topLogprobs: 1 })
    plain.core.add(spec)
    guess.core.add(spec)
    const [expected, updates] = [await plain.drain(), await guess.drain()]
    expect(tokensOf(updates, 1)).toEqual(tokensOf(expected, 1))
    const logprobsOf = (all: typeof updates) => all.flatMap(({ logprobs }) => logprobs ?? [])
    expect(logprobsOf(updates)).toEqual(logprobsOf(expected))
    const stats = guess.core.stats()
    expect(stats.numSteps).toBe(40 - stats.numAcceptedDrafts)
    expect(stats.numAcceptedDrafts).toBeGreaterThan(0)
    expect(updates.at(-1)?.timing).toMatchObject({
      numAcceptedDrafts: stats.numAcceptedDrafts,
      numRejectedDrafts: stats.numDraftTokens - stats.numAcceptedDrafts,
    })
  })

  it('does not guess where the executor cannot take it back', async () => {
    const executor = new FakeExecutor(makeLimits())
    executor.capabilities.supportsDrafts = false
    const { core, drain } = makeTestEngine({ executor, scheduling: { maxDraftTokens: 4 } })
    core.add(makeSpec(1, { promptIds: prompt, maxTokens: 40 }))
    await drain()
    expect(core.stats().numDraftTokens).toBe(0)
  })
})
