/** Sequences whose prompt begins with blocks that lie in a tier, through the engine. */

import { describe, expect, it } from 'vitest'
import {
  lastOf,
  makeSpec,
  makeTestEngine,
  type SpecParts,
  tokensOf,
} from '../../support/engine-builders.ts'
import { FakeTier } from '../../support/fake-tier.ts'

const BLOCK_BYTES = 32
/** Three full blocks of four tokens, and two tokens more. */
const prompt = Array.from({ length: 14 }, (_, index) => (index * 5) % 2)
const other = Array.from({ length: 14 }, (_, index) => (index % 3 === 0 ? 1 : 0))

/** An engine whose pool holds one of the prompts, beside a tier that has what the other pushed out. */
async function makeStage(limits = { numBlocks: 6 }) {
  const tier = new FakeTier(BLOCK_BYTES)
  const engine = makeTestEngine({ limits, scheduling: { prefixCache: true }, tier })
  engine.executor.duringExecute = () => {
    engine.clock.ms += 4
  }
  let nextId = 100
  const run = async (promptIds: readonly number[], parts: SpecParts = {}) => {
    const id = nextId++
    engine.core.add(makeSpec(id, { promptIds, maxTokens: 4, ...parts }))
    const updates = await engine.drain()
    return { tokens: tokensOf(updates, id), cached: lastOf(updates, id)?.timing?.numCachedTokens }
  }
  return { ...engine, tier, run }
}

describe('blocks that the pool gave up', () => {
  it('come back from the tier instead of being computed, and are counted as cached', async () => {
    const { core, tier, run } = await makeStage()
    const first = await run(prompt)
    await run(other)
    expect(tier.blocks.size).toBeGreaterThan(0)
    const before = core.stats()
    const again = await run(prompt)
    expect(first.cached).toBe(0)
    expect(again).toEqual({ tokens: first.tokens, cached: 12 })
    expect(core.stats().numRestoredTokens - before.numRestoredTokens).toBeGreaterThan(0)
    expect(tier.lent.size).toBe(0)
  })

  it('are nobody’s of another tenant or another domain', async () => {
    for (const parts of [{ cacheDomain: 9 }, { cacheDomain: 9, tenant: 'mallory' }]) {
      const { core, tier, run } = await makeStage()
      await run(prompt)
      await run(other)
      expect((await run(prompt, parts)).cached).toBe(0)
      // A domain is one tenant’s alone; should it be two tenants’, the tier still tells them apart.
      const later = makeTestEngine({ scheduling: { prefixCache: true }, tier })
      later.core.add(makeSpec(1, { promptIds: prompt, tenant: 'mallory' }))
      expect(lastOf(await later.drain(), 1)?.timing?.numCachedTokens).toBe(0)
      expect(core.stats().numRestoredTokens).toBe(0)
    }
  })

  it('are computed when that is predicted to be quicker, or when they have gone meanwhile', async () => {
    const { core, tier, run } = await makeStage()
    const first = await run(prompt)
    await run(other)
    tier.loadBlockMs = 1e6
    expect(await run(prompt)).toEqual({ ...first, cached: expect.any(Number) })
    await run(other)
    tier.loadBlockMs = 0
    tier.duringLoad = () => tier.blocks.clear()
    expect((await run(prompt)).tokens).toEqual(first.tokens)
    expect(core.stats().numRestoredTokens).toBe(0)
  })

  it('are found by a later engine, which was given what the first one still held', async () => {
    const { core, tier, run, clock } = await makeStage({ numBlocks: 16 })
    const first = await run(prompt)
    expect(tier.blocks.size).toBe(0)
    await core.keepCache(clock.ms + 1)
    expect(tier.blocks.size).toBe(4)
    const later = makeTestEngine({ scheduling: { prefixCache: true }, tier })
    later.core.add(makeSpec(1, { promptIds: prompt, maxTokens: 4 }))
    const updates = await later.drain()
    expect(tokensOf(updates, 1)).toEqual(first.tokens)
    expect(lastOf(updates, 1)?.timing?.numCachedTokens).toBe(12)
  })

  it('are given to it as far as time allows', async () => {
    const { core, tier, run, clock } = await makeStage({ numBlocks: 16 })
    await run(prompt)
    await core.keepCache(clock.ms)
    expect(tier.blocks.size).toBe(0)
  })
})

describe('a sequence that waits for the tier', () => {
  /** Sequence 1 waits until it is let go. */
  async function makeWaiting() {
    const stage = await makeStage()
    await stage.run(prompt)
    await stage.run(other)
    let letGo: () => void = () => {}
    stage.tier.duringLoad = () => new Promise<void>((resolve) => (letGo = resolve))
    stage.core.add(makeSpec(1, { promptIds: prompt, maxTokens: 4 }))
    return { ...stage, letGo: () => letGo() }
  }

  it('holds up neither the step nor those behind it', async () => {
    const { core, letGo, drain } = await makeWaiting()
    core.add(makeSpec(2, { promptIds: [0, 1, 1], maxTokens: 3 }))
    const updates = []
    for (let step = 0; step < 3; step++) updates.push(...(await core.step()).updates)
    core.checkIntegrity()
    expect(lastOf(updates, 2)?.finish).toBe('length')
    expect(core.stats()).toMatchObject({ numRunning: 0, numWaiting: 1 })
    letGo()
    expect(lastOf(await drain(), 1)).toMatchObject({
      finish: 'length',
      timing: { numCachedTokens: 12 },
    })
  })

  it('is all there is to wait for: the step ends with its blocks, or with a newcomer', async () => {
    const { core, letGo, drain } = await makeWaiting()
    const idle = core.step()
    core.add(makeSpec(2, { promptIds: [0, 1, 1], maxTokens: 3 }))
    expect((await idle).updates).toEqual([])
    expect(tokensOf((await core.step()).updates, 2)).toHaveLength(1)
    letGo()
    const updates = await drain()
    expect([lastOf(updates, 1)?.finish, lastOf(updates, 2)?.finish]).toEqual(['length', 'length'])
  })

  it('can be cancelled, and what comes for it is given back', async () => {
    const { core, tier, letGo } = await makeWaiting()
    const idle = core.step()
    core.cancel(makeSpec(1).id)
    core.checkIntegrity()
    expect(lastOf((await idle).updates, 1)?.finish).toBe('cancelled')
    letGo()
    await new Promise((resolve) => setImmediate(resolve))
    expect([core.hasWork, tier.lent.size]).toEqual([false, 0])
  })

  it('is given up when it may wait no longer', async () => {
    const { core, clock, letGo, tier } = await makeWaiting()
    core.cancel(makeSpec(1).id)
    core.add(makeSpec(3, { promptIds: prompt, maxTokens: 4, maxQueueMs: 50 }))
    core.add(makeSpec(4, { promptIds: [0, 1, 1], maxTokens: 3 }))
    await core.step()
    clock.ms += 51
    expect(lastOf((await core.step()).updates, 3)?.error?.code).toBe('ENGINE_QUEUE_TIMEOUT')
    letGo()
    await new Promise((resolve) => setImmediate(resolve))
    core.checkIntegrity()
    expect(tier.lent.size).toBe(0)
  })
})
