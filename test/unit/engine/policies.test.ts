/** Targets, tiers, victims and deadlines, through the scheduler and the engine. */

import { describe, expect, it } from 'vitest'
import { checkScheduler } from '../../../src/engine/check-scheduler.ts'
import type { BatchLimits } from '../../../src/engine/executor.ts'
import { Scheduler } from '../../../src/engine/scheduler.ts'
import type { TargetItl } from '../../../src/engine/scheduling-options.ts'
import type { Sequence } from '../../../src/engine/sequence.ts'
import {
  lastOf,
  makeSpec,
  makeTestEngine,
  makeTestSequence,
  type SpecParts,
  tokensOf,
} from '../../support/engine-builders.ts'
import { makeLimits } from '../../support/fake-executor.ts'

function makeScheduler(overrides: Partial<BatchLimits>, targetItl: TargetItl = 'off') {
  const limits = makeLimits(overrides)
  const scheduler = new Scheduler(limits, { targetItl })
  let nextId = 0
  const add = (parts: SpecParts): Sequence => {
    const sequence = makeTestSequence(nextId++, limits, { maxTokens: 32, ...parts })
    scheduler.add(sequence)
    return sequence
  }
  const step = (nowMs = 0): Record<number, number> => {
    scheduler.schedule(nowMs)
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

const idsOf = (sequences: readonly Sequence[]): number[] => sequences.map(({ id }) => id)

/** Steps of 2 ms and a millisecond a token, so that a target reads as tokens. */
function teach(scheduler: Scheduler): void {
  for (let index = 0; index < 400; index++)
    scheduler.costModel.observe(1 + (index % 64), 0, 0, 3 + (index % 64))
}

describe('a target for the time between tokens', () => {
  const wide = {
    maxNumBatchedTokens: 256,
    maxNumSeqs: 8,
    numBlocks: 256,
    maxBlocksPerSeq: 128,
    maxLogitsRows: 16,
  }

  it('bounds a long prompt beside streams, and not without them', () => {
    const { scheduler, add, step } = makeScheduler(wide, 20)
    teach(scheduler)
    add({ promptTokens: 300 })
    expect(step()).toEqual({ 0: 256 })
    expect(step()).toEqual({ 0: 44 })
    add({ promptTokens: 200 })
    const { 0: stream, 1: prompt } = step()
    expect(stream).toBe(1)
    expect(prompt).toBeGreaterThan(14)
    expect(prompt).toBeLessThan(20)
  })

  it('of auto gives prompts about as much of a step as decoding takes', () => {
    const { scheduler, add, step } = makeScheduler({ ...wide, blockSize: 16 }, 'auto')
    teach(scheduler)
    for (let index = 0; index < 7; index++) add({ promptTokens: 1 })
    step()
    add({ promptTokens: 400 })
    // Decoding takes 2 + 7 ms: 10 ms is the least target, 14.4 what 1.6 times allow.
    const share = step()[7] as number
    expect(share).toBeGreaterThanOrEqual(5)
    expect(share).toBeLessThanOrEqual(7)
  })

  it('that decoding alone exceeds still gives prompts a fifth of the time', () => {
    const { scheduler, add, step } = makeScheduler({ ...wide, blockSize: 16 }, 1)
    teach(scheduler)
    for (let index = 0; index < 7; index++) add({ promptTokens: 1 })
    step()
    add({ promptTokens: 5 })
    // Decoding takes 2 + 7 ms, a quarter of that is 2.25.
    expect([step()[7], step()[7], step()[7]]).toEqual([2, 2, 1])
  })

  it('gives a prompt one row in every step at the least', () => {
    const { scheduler, add, step } = makeScheduler(wide, 1)
    teach(scheduler)
    add({ promptTokens: 1 })
    step()
    add({ promptTokens: 3 })
    expect([step(), step()]).toEqual([
      { 0: 1, 1: 1 },
      { 0: 1, 1: 1 },
    ])
  })
})

describe('preemption', () => {
  it('puts out the lowest tier first, and of it who loses least', () => {
    const { scheduler, add, step } = makeScheduler({ numBlocks: 8, maxNumBatchedTokens: 32 })
    const flexShort = add({ promptTokens: 3, maxTokens: 8, tier: 'flex' })
    const flexLong = add({ promptTokens: 11, maxTokens: 8, tier: 'flex' })
    const priority = add({ promptTokens: 3, maxTokens: 8, tier: 'priority' })
    const normal = add({ promptTokens: 7, maxTokens: 8 })
    step()
    expect(idsOf(scheduler.running)).toEqual(idsOf([priority, normal, flexShort, flexLong]))
    step()
    // All of the 1 + 2 + 1 + 3 blocks are full, one is left, and each needs another: one of the short goes, then the
    // long one for want of its own.
    step()
    expect(idsOf(scheduler.preempted)).toEqual(idsOf([flexShort, flexLong]))
    expect(idsOf(scheduler.running)).toEqual(idsOf([priority, normal]))
  })

  it('makes room for a higher tier that waits, whatever is missing', () => {
    const { scheduler, add, step } = makeScheduler({ maxNumSeqs: 2 })
    add({ promptTokens: 4 })
    const flex = add({ promptTokens: 4, tier: 'flex' })
    step()
    const priority = add({ promptTokens: 4, tier: 'priority' })
    step()
    expect(idsOf(scheduler.preempted)).toEqual(idsOf([flex]))
    expect(scheduler.running[0]).toBe(priority)
    expect(scheduler.numWaiting).toBe(1)
  })

  it('answers the preempted as if nothing had happened', async () => {
    const specs = [
      makeSpec(1, { promptTokens: 9, maxTokens: 12, tier: 'flex', seed: 3n }),
      makeSpec(2, { promptTokens: 9, maxTokens: 12, tier: 'priority', seed: 4n }),
    ]
    const alone = makeTestEngine()
    alone.core.add(specs[0]!)
    const expected = tokensOf(await alone.drain(), 1)
    const { core, drain } = makeTestEngine({ limits: { numBlocks: 6 } })
    core.add(specs[0]!)
    await core.step()
    core.add(specs[1]!)
    const updates = await drain()
    expect(lastOf(updates, 1)?.timing?.numPreemptions).toBe(1)
    expect(tokensOf(updates, 1)).toEqual(expected.slice(1))
  })
})

describe('a limit on the wait', () => {
  it('gives up who waited longer, and says when to come again', async () => {
    const { core, clock, drain } = makeTestEngine({ limits: { maxNumSeqs: 1 } })
    core.add(makeSpec(1, { maxTokens: 20 }))
    core.add(makeSpec(2, { maxQueueMs: 100 }))
    core.add(makeSpec(3, { maxQueueMs: 5000 }))
    await core.step()
    clock.ms = 101
    const updates = await drain()
    expect(lastOf(updates, 2)).toMatchObject({
      finish: 'error',
      error: { code: 'ENGINE_QUEUE_TIMEOUT', status: 429, details: { waitedMs: 101 } },
    })
    expect([lastOf(updates, 1)?.finish, lastOf(updates, 3)?.finish]).toEqual(['length', 'length'])
  })

  it('of no time at all lets in whoever finds a place at once, and nobody else', async () => {
    const { core, drain } = makeTestEngine({ limits: { maxNumSeqs: 1 } })
    core.add(makeSpec(1, { maxQueueMs: 0 }))
    expect(() => core.add(makeSpec(2, { maxQueueMs: 0 }))).toThrow(
      expect.objectContaining({ code: 'ENGINE_QUEUE_TOO_LONG' }),
    )
    expect(lastOf(await drain(), 1)?.finish).toBe('length')
  })

  it('holds for the first admission only', async () => {
    const { core, clock, drain } = makeTestEngine()
    core.add(makeSpec(1, { maxQueueMs: 1 }))
    await core.step()
    clock.ms = 1000
    expect(lastOf(await drain(), 1)?.finish).toBe('length')
  })

  it('refuses at once what is predicted to wait longer', async () => {
    const { core, executor, clock } = makeTestEngine({ limits: { maxNumSeqs: 1 } })
    executor.duringExecute = () => {
      clock.ms += 100
    }
    for (let id = 1; id <= 6; id++) core.add(makeSpec(id, { maxTokens: 4 }))
    for (let step = 0; step < 13; step++) await core.step()
    // Three have ended, 400 ms apart; one runs, two wait.
    expect(core.stats().predictedWaitMs).toBe(1200)
    const late = expect.objectContaining({
      code: 'ENGINE_QUEUE_TOO_LONG',
      status: 429,
      retryAfterSeconds: 1,
    })
    expect(() => core.add(makeSpec(7, { maxQueueMs: 1000 }))).toThrow(late)
    core.add(makeSpec(7, { maxQueueMs: 1300 }))
    expect(core.stats().numWaiting).toBe(3)
  })
})
