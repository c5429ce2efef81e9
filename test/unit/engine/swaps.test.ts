/** What happens to the KV of who is put out, through the engine: copied out and back, or computed again. */

import { describe, expect, it } from 'vitest'
import { recomputeMs } from '../../../src/engine/recompute-ms.ts'
import { StepCostModel } from '../../../src/engine/step-cost-model.ts'
import { SwapSpace } from '../../../src/engine/swap-space.ts'
import { makeSpec, makeTestEngine, tokensOf } from '../../support/engine-builders.ts'

/** A block of four tokens in the fake executor. */
const BLOCK_BYTES = 32
const specs = [
  makeSpec(1, { promptTokens: 9, maxTokens: 12, tier: 'flex', seed: 3n }),
  makeSpec(2, { promptTokens: 9, maxTokens: 12, tier: 'priority', seed: 4n }),
]

/** The flex sequence is put out for the other one after its first step. */
async function run(swapSlots: number, moveMs = 0) {
  const alone = makeTestEngine()
  alone.core.add(specs[0]!)
  const expected = tokensOf(await alone.drain(), 1)
  const scheduling = { swapBytes: swapSlots * BLOCK_BYTES }
  const { core, executor, clock, drain } = makeTestEngine({ limits: { numBlocks: 6 }, scheduling })
  let numComputed = 0
  executor.duringExecute = () => {
    clock.ms += 4
  }
  executor.duringMove = () => {
    clock.ms += moveMs
  }
  core.add(specs[0]!)
  const first = await core.step()
  core.add(specs[1]!)
  const updates = [...first.updates]
  while (core.hasWork) {
    updates.push(...(await core.step()).updates)
    numComputed += core.stats().numScheduledTokens
    core.checkIntegrity()
  }
  await drain()
  expect(tokensOf(updates, 1)).toEqual(expected)
  const { numPreemptions, numSwappedOutBlocks, numSwappedInBlocks } = core.stats()
  return { numPreemptions, numSwappedOutBlocks, numSwappedInBlocks, numComputed }
}

describe('a sequence that is put out', () => {
  it('comes back with its KV where there is room for it outside', async () => {
    // 20 tokens of the one and 11 more of the other: nothing is computed twice.
    expect(await run(3)).toEqual({
      numPreemptions: 1,
      numSwappedOutBlocks: 3,
      numSwappedInBlocks: 3,
      numComputed: 31,
    })
  })

  it('is computed again where there is not, or where that is predicted to be quicker', async () => {
    const again = {
      numPreemptions: 1,
      numSwappedOutBlocks: 0,
      numSwappedInBlocks: 0,
      numComputed: 31 + 12,
    }
    expect(await run(0)).toEqual(again)
    expect(await run(2)).toEqual(again)
  })

  it('is swapped less once moving was seen to be slow', async () => {
    const limits = { numBlocks: 6, maxNumSeqs: 2, maxNumBatchedTokens: 16 }
    const swapped: number[] = []
    for (const moveMs of [0, 1000]) {
      const scheduling = { swapBytes: 64 * BLOCK_BYTES }
      const { core, executor, clock, drain } = makeTestEngine({ limits, scheduling })
      executor.duringExecute = () => {
        clock.ms += 4
      }
      executor.duringMove = () => {
        clock.ms += moveMs
      }
      for (let id = 1; id <= 12; id++)
        core.add(makeSpec(id, { promptTokens: 8, maxTokens: 12, seed: BigInt(id) }))
      await drain()
      expect(core.stats().numPreemptions).toBeGreaterThan(3)
      swapped.push(core.stats().numSwappedOutBlocks)
    }
    const [quick = 0, slow = 0] = swapped
    expect(slow).toBeLessThanOrEqual(3)
    expect(quick).toBeGreaterThan(2 * slow)
  })

  it('gives its room outside back when it is cancelled there', async () => {
    const scheduling = { swapBytes: 3 * BLOCK_BYTES }
    const { core, drain } = makeTestEngine({ limits: { numBlocks: 6 }, scheduling })
    core.add(specs[0]!)
    await core.step()
    core.add(specs[1]!)
    while (core.stats().numPreemptions === 0) await core.step()
    expect(core.stats()).toMatchObject({ numSwappedOutBlocks: 3, numWaiting: 1 })
    core.cancel(specs[0]!.id)
    core.checkIntegrity()
    await drain()
    expect(core.stats().numSwappedInBlocks).toBe(0)
  })
})

describe('the swap space', () => {
  it('is as many whole blocks as fit, uses again what was freed last, and knows who has too much', () => {
    const space = new SwapSpace(100 * BLOCK_BYTES + 31, BLOCK_BYTES)
    expect(space.numSlots).toBe(100)
    const first = space.take(2)!
    const second = space.take(98)!
    expect(space.take(1)).toBeNull()
    expect(new Set([...first, ...second].map((slot) => slot.byteLength))).toEqual(
      new Set([BLOCK_BYTES]),
    )
    space.release(first)
    space.checkIntegrity(98)
    expect(space.take(2)).toEqual(first)
    expect(() => space.checkIntegrity(99)).toThrow('P1')
    space.release([...first, ...second])
    expect(() => space.release(first)).toThrow('P1')
  })
})

it('computing again costs tokens and the keys that they attend to', () => {
  const model = new StepCostModel()
  for (let index = 0; index < 400; index++) {
    const numTokens = 1 + (index % 64)
    model.observe(numTokens, 1000 * (index % 7), 0, 3 + numTokens + (index % 7))
  }
  expect(recomputeMs(model, 0, 10)).toBeCloseTo(10 + 55 / 1000, 0)
  expect(recomputeMs(model, 1000, 10)).toBeCloseTo(10 + 10 + 55 / 1000, 0)
})
