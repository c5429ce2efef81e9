import { describe, expect, it } from 'vitest'
import { checkLimits, checkScheduler } from '../../../src/engine/check-scheduler.ts'
import type { BatchLimits } from '../../../src/engine/executor.ts'
import { Scheduler } from '../../../src/engine/scheduler.ts'
import { type Sequence, SequenceStatus } from '../../../src/engine/sequence.ts'
import { makeTestSequence, type SpecParts } from '../../support/engine-builders.ts'
import { makeLimits } from '../../support/fake-executor.ts'

/** A scheduler whose steps are "computed" by hand: known tokens become computed, and a zero is drawn. */
function makeScheduler(overrides: Partial<BatchLimits> = {}) {
  const limits = makeLimits(overrides)
  const scheduler = new Scheduler(limits)
  let numArrivals = 0
  const add = (parts: SpecParts): Sequence => {
    const sequence = makeTestSequence(numArrivals++, limits, { maxTokens: 32, ...parts })
    scheduler.add(sequence)
    return sequence
  }
  /** One step; the shares as `id: tokens`. */
  const step = (): Record<number, number> => {
    scheduler.schedule(0)
    checkScheduler(scheduler, limits)
    const shares: Record<number, number> = {}
    for (const sequence of scheduler.running) {
      if (sequence.numScheduledTokens > 0) shares[sequence.id] = sequence.numScheduledTokens
      sequence.numComputedTokens += sequence.numScheduledTokens
      sequence.numScheduledTokens = 0
      if (sequence.numComputedTokens === sequence.numTokens) sequence.append(0)
    }
    return shares
  }
  return { scheduler, add, step }
}

const blocksOf = (sequence: Sequence) =>
  Array.from(sequence.blockTable.subarray(0, sequence.numBlocks))

describe('Scheduler', () => {
  it('cuts a long prompt into chunks of the token budget, then decodes', () => {
    const { add, step } = makeScheduler({ maxNumBatchedTokens: 6 })
    const sequence = add({ promptTokens: 14 })
    expect([step(), step(), step(), step()]).toEqual([{ 0: 6 }, { 0: 6 }, { 0: 2 }, { 0: 1 }])
    expect(blocksOf(sequence)).toEqual([0, 1, 2, 3])
  })

  it('gives decode rows their token before an older prompt takes the rest', () => {
    const { add, step } = makeScheduler({ maxNumBatchedTokens: 6 })
    add({ promptTokens: 2 })
    add({ promptTokens: 20 })
    add({ promptTokens: 2 })
    expect(step()).toEqual({ 0: 2, 1: 4 })
    expect(step()).toEqual({ 0: 1, 1: 5 })
    expect(step()).toEqual({ 0: 1, 1: 5 })
    expect(step()).toEqual({ 0: 1, 1: 5 })
    expect(step()).toEqual({ 0: 1, 1: 1, 2: 2 })
    expect(step()).toEqual({ 0: 1, 1: 1, 2: 1 })
  })

  it('lets a younger decode row go before an older chunk', () => {
    const { add, step } = makeScheduler({ maxNumBatchedTokens: 4, maxNumSeqs: 2, maxLogitsRows: 2 })
    const prompt = add({ promptTokens: 20 })
    step()
    add({ promptTokens: 1 })
    prompt.numComputedTokens = 17 // leaves 3 of the budget of 4
    prompt.tokenIds.fill(0)
    expect(step()).toEqual({ 0: 3, 1: 1 })
  })

  it('admits in order of arrival, up to the limit of sequences', () => {
    const { add, step, scheduler } = makeScheduler({ maxNumSeqs: 2 })
    for (let index = 0; index < 3; index++) add({ promptTokens: 2 })
    expect(step()).toEqual({ 0: 2, 1: 2 })
    expect(scheduler.numWaiting).toBe(1)
  })

  it('does not let a small sequence overtake one that does not fit yet', () => {
    const { add, step } = makeScheduler({ numBlocks: 6, maxNumBatchedTokens: 64 })
    add({ promptTokens: 12, maxTokens: 4 })
    add({ promptTokens: 20, maxTokens: 4 })
    add({ promptTokens: 1, maxTokens: 4 })
    expect(step()).toEqual({ 0: 12 })
  })

  it('does not admit into blocks that a running prompt still needs', () => {
    const { add, step } = makeScheduler({ numBlocks: 5, maxNumBatchedTokens: 8 })
    add({ promptTokens: 16, maxTokens: 4 })
    expect(step()).toEqual({ 0: 8 })
    add({ promptTokens: 8, maxTokens: 4 })
    expect(step()).toEqual({ 0: 8 })
  })

  it('preempts the youngest when a block is missing, and keeps its tokens', () => {
    const { add, step, scheduler } = makeScheduler({ numBlocks: 4 })
    const old = add({ promptTokens: 7, maxTokens: 9 })
    const young = add({ promptTokens: 7, maxTokens: 9 })
    expect(step()).toEqual({ 0: 7, 1: 7 })
    expect(step()).toEqual({ 0: 1, 1: 1 })
    expect([blocksOf(old), blocksOf(young)]).toEqual([
      [0, 1],
      [2, 3],
    ])
    // Position 8 needs a third block: the old one gets the block that the young one released last, its first.
    expect(step()).toEqual({ 0: 1 })
    expect(blocksOf(old)).toEqual([0, 1, 2])
    expect(scheduler.preempted).toEqual([young])
    expect(young).toMatchObject({
      status: SequenceStatus.preempted,
      numTokens: 9,
      numComputedTokens: 0,
      numBlocks: 0,
      numPreemptions: 1,
    })
    expect(step()).toEqual({ 0: 1 })
    // Once the old one is gone, all nine known tokens of the young one are computed again in one chunk.
    old.status = SequenceStatus.finishedLength
    scheduler.removeFinished()
    expect(step()).toEqual({ 1: 9 })
    expect(blocksOf(young)).toEqual([0, 1, 2])
  })

  it('preempts itself when the youngest is the one that lacks a block', () => {
    const { add, step, scheduler } = makeScheduler({ numBlocks: 4 })
    add({ promptTokens: 8, maxTokens: 8 })
    const young = add({ promptTokens: 4, maxTokens: 12 })
    step()
    expect(step()).toEqual({ 0: 1 })
    expect(scheduler.preempted).toEqual([young])
  })

  it('schedules fewer tokens when prompt logprobs would need more rows than there are', () => {
    const { add, step } = makeScheduler({ maxNumBatchedTokens: 16, maxLogitsRows: 4 })
    add({ promptTokens: 10, promptLogprobs: 0 })
    // Rows 0 to 8 report, row 9 draws.
    expect([step(), step(), step(), step()]).toEqual([{ 0: 4 }, { 0: 4 }, { 0: 2 }, { 0: 1 }])
  })

  it.each([
    ['no sequence', { maxNumSeqs: 0 }],
    ['fewer tokens than sequences', { maxNumBatchedTokens: 3 }],
    ['fewer logits rows than sequences', { maxLogitsRows: 3 }],
    ['no block', { numBlocks: 0 }],
  ])('refuses limits with %s', (_, limits) => {
    expect(() => checkLimits(makeLimits(limits))).toThrow(
      expect.objectContaining({ code: 'ENGINE_BAD_LIMITS' }),
    )
  })
})
