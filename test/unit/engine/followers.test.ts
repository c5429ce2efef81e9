import { describe, expect, it } from 'vitest'
import type { SequenceId } from '../../../src/base/ids.ts'
import {
  lastOf,
  makeSpec,
  makeTestEngine,
  type SpecParts,
  tokensOf,
} from '../../support/engine-builders.ts'

const prompt = Array.from({ length: 14 }, (_, index) => (index * 7) % 2)
const ON = { prefixCache: true }

function choices(count: number, parts: SpecParts = {}) {
  return Array.from({ length: count }, (_, choice) =>
    makeSpec(choice + 1, {
      promptIds: prompt,
      choice,
      ...parts,
      ...(choice === 0 ? {} : { leader: 1 }),
    }),
  )
}

describe('choices of one request', () => {
  it('compute their prompt once, hold its full blocks together and copy the last one', async () => {
    const { core, executor } = makeTestEngine({ scheduling: ON, limits: { numBlocks: 32 } })
    for (const spec of choices(4)) core.add(spec)
    expect(core.stats()).toMatchObject({ numWaiting: 4 })
    await core.step()
    expect(core.stats()).toMatchObject({ numRunning: 1, numWaiting: 3, numScheduledTokens: 14 })
    await core.step()
    // Of each a token: the leader's next one, and the last of the prompt, which a first draw needs.
    const copied = { numRunning: 4, numScheduledTokens: 4, numCopiedTails: 3 }
    expect(core.stats()).toMatchObject(copied)
    expect(core.stats().numFreeBlocks).toBe(32 - 3 - 4)
    expect(executor.numExecutions).toBe(2)
    core.checkIntegrity()
  })

  it('answer as they would alone', async () => {
    const alone = makeTestEngine({ limits: { numBlocks: 32 } })
    const together = makeTestEngine({ scheduling: ON, limits: { numBlocks: 32 } })
    for (const spec of choices(4)) {
      alone.core.add({ ...makeSpec(spec.id, { promptIds: prompt }), choice: spec.choice })
      together.core.add(spec)
    }
    const [expected, updates] = [await alone.drain(), await together.drain()]
    for (const id of [1, 2, 3, 4]) expect(tokensOf(updates, id)).toEqual(tokensOf(expected, id))
  })

  it('begin from the copy when the first one has ended with its first token', async () => {
    const { core, drain } = makeTestEngine({ scheduling: ON, limits: { numBlocks: 32 } })
    const alone = makeTestEngine({ limits: { numBlocks: 32 } })
    for (const spec of choices(4, { maxTokens: 1 })) {
      alone.core.add(makeSpec(spec.id, { promptIds: prompt, choice: spec.choice, maxTokens: 1 }))
      core.add(spec)
    }
    const [expected, updates] = [await alone.drain(), await drain()]
    for (const id of [1, 2, 3, 4]) {
      expect(tokensOf(updates, id)).toEqual(tokensOf(expected, id))
      expect(lastOf(updates, id)?.timing?.numCachedTokens).toBe(id === 1 ? 0 : 13)
    }
    expect(core.stats()).toMatchObject({ numCopiedTails: 3, numSteps: 2 })
  })

  it('share also a prompt that fills no block, unless it is a few tokens only', async () => {
    for (const [numTokens, numCopiedTails, numScheduledTokens] of [
      [9, 2, 3],
      [8, 0, 3],
    ] as const) {
      const limits = { blockSize: 32, numBlocks: 8, maxNumBatchedTokens: 32 }
      const { core, drain } = makeTestEngine({ scheduling: ON, limits })
      const alone = makeTestEngine({ limits })
      for (const spec of choices(3, { promptIds: prompt.slice(0, numTokens) })) {
        core.add(spec)
        const { leader: _, ...separate } = spec
        alone.core.add(separate)
      }
      const updates = [...(await core.step()).updates]
      expect(core.stats().numScheduledTokens).toBe(numTokens === 9 ? 9 : 24)
      updates.push(...(await core.step()).updates)
      expect(core.stats()).toMatchObject({ numCopiedTails, numScheduledTokens })
      updates.push(...(await drain()))
      const expected = await alone.drain()
      for (const id of [1, 2, 3]) expect(tokensOf(updates, id)).toEqual(tokensOf(expected, id))
    }
  })

  it('need no copy when the last block holds nothing but the last token', async () => {
    const { core, drain } = makeTestEngine({ scheduling: ON, limits: { numBlocks: 32 } })
    for (const spec of choices(2, { promptIds: prompt.slice(0, 13) })) core.add(spec)
    await drain()
    expect(core.stats()).toMatchObject({ numCopiedTails: 0, numSteps: 9 })
  })

  it('give the held block up before anybody is put out for it', async () => {
    // Two run, so that only one of the two followers comes in at a time.
    const { core, drain } = makeTestEngine({
      scheduling: ON,
      limits: { numBlocks: 10, maxNumSeqs: 2, maxNumBatchedTokens: 32 },
    })
    for (const spec of choices(3, { maxTokens: 10 })) core.add(spec)
    for (let step = 0; step < 2; step++) await core.step()
    expect(core.stats()).toMatchObject({ numRunning: 2, numWaiting: 1, numCopiedTails: 1 })
    const updates = await drain()
    expect(core.stats()).toMatchObject({ numPreemptions: 0, numFreeBlocks: 10 })
    for (const id of [1, 2, 3]) expect(tokensOf(updates, id).length).toBeGreaterThan(7)
  })

  it('go on when the first one is cancelled before its prompt was computed', async () => {
    const { core, drain } = makeTestEngine({ scheduling: ON, limits: { maxNumBatchedTokens: 8 } })
    for (const spec of choices(3)) core.add(spec)
    await core.step()
    core.cancel(1 as SequenceId)
    core.cancel(3 as SequenceId)
    core.checkIntegrity()
    const updates = await drain()
    expect(
      updates.filter(({ finish }) => finish !== null).map(({ id, finish }) => [id, finish]),
    ).toEqual([
      [1, 'cancelled'],
      [3, 'cancelled'],
      [2, 'length'],
    ])
  })

  it('have no deadline once their request was let in', async () => {
    const { core, clock, drain } = makeTestEngine({
      scheduling: ON,
      limits: { maxNumBatchedTokens: 4 },
    })
    for (const spec of choices(2, { maxQueueMs: 10 })) core.add(spec)
    await core.step()
    clock.ms = 11
    const updates = await drain()
    const ends = updates.filter(({ finish }) => finish !== null)
    expect(ends.map(({ id, finish }) => [id, finish])).toEqual([
      [1, 'length'],
      [2, 'length'],
    ])
  })

  it('are given up with their leader when none of them is let in', async () => {
    const { core, clock, drain } = makeTestEngine({ scheduling: ON, limits: { maxNumSeqs: 1 } })
    core.add(makeSpec(9, { maxTokens: 20 }))
    await core.step()
    for (const spec of choices(2, { maxQueueMs: 100 })) core.add(spec)
    clock.ms = 101
    const updates = await drain()
    const ends = updates.filter(({ finish }) => finish !== null)
    expect(ends.map(({ id, finish }) => [id, finish])).toEqual([
      [1, 'error'],
      [2, 'error'],
      [9, 'length'],
    ])
  })

  it('do not wait without a prefix cache, nor when the prompt fills no block', async () => {
    for (const [scheduling, promptIds] of [
      [{}, prompt],
      [ON, prompt.slice(0, 4)],
    ] as const) {
      const { core } = makeTestEngine({ scheduling, limits: { maxNumBatchedTokens: 64 } })
      for (const spec of choices(2, { promptIds: [...promptIds] })) core.add(spec)
      await core.step()
      expect(core.stats().numRunning).toBe(2)
    }
  })
})
