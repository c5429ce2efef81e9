import { describe, expect, it } from 'vitest'
import type { BlockId } from '../../../src/base/ids.ts'
import { BlockPool } from '../../../src/engine/block-pool.ts'
import { attachBlocks, growBlockTable, releaseBlockTable } from '../../../src/engine/block-table.ts'
import { PrefixCache } from '../../../src/engine/prefix-cache.ts'
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

const ON = { prefixCache: true }

/** A pool of 8 blocks of 4 tokens with its cache, and sequences that are "computed" by saying so. */
function makeCache(numBlocks = 8) {
  const limits = makeLimits({ numBlocks, vocabSize: 100 })
  const cache = new PrefixCache(limits, [1, 2])
  const pool = new BlockPool(numBlocks, cache.forget)
  let nextId = 0
  const sequenceOf = (promptIds: number[], parts: SpecParts = {}): Sequence => {
    const sequence = makeTestSequence(nextId++, limits, { maxTokens: 1, ...parts, promptIds })
    sequence.reserve()
    return sequence
  }
  /** Match, compute the rest, publish. Returns the block ids. */
  const run = (
    promptIds: number[],
    parts: SpecParts = {},
  ): { sequence: Sequence; hits: number } => {
    const sequence = sequenceOf(promptIds, parts)
    const hits = cache.match(sequence, promptIds.length - 1)
    attachBlocks(sequence, cache.matched, hits, pool)
    cache.follow(sequence, hits)
    growBlockTable(sequence, Math.ceil(promptIds.length / 4), pool)
    sequence.numComputedTokens = promptIds.length
    cache.publish(sequence, pool)
    cache.checkIntegrity(pool)
    pool.checkIntegrity()
    return { sequence, hits }
  }
  const hitsOf = (promptIds: number[], parts: SpecParts = {}): number[] => {
    const sequence = sequenceOf(promptIds, parts)
    return Array.from(cache.matched.subarray(0, cache.match(sequence, promptIds.length)))
  }
  return { cache, pool, run, hitsOf, release: (one: Sequence) => releaseBlockTable(one, pool) }
}

const text = (...blocks: number[]) => blocks.flatMap((block) => [block, 1, 2, 3])

describe('PrefixCache', () => {
  it('finds the full blocks of an equal beginning, in order, and stops at the first difference', () => {
    const { run, hitsOf } = makeCache()
    run([...text(10, 11, 12), 9])
    expect(hitsOf([...text(10, 11, 12), 9])).toEqual([0, 1, 2])
    expect(hitsOf([...text(10, 11), 12, 1, 2, 4])).toEqual([0, 1])
    expect(hitsOf(text(10, 12, 11))).toEqual([0])
    expect(hitsOf(text(11, 12))).toEqual([])
  })

  it('keeps domains apart in every one of their words', () => {
    const { run, hitsOf } = makeCache()
    run(text(10, 11), { cacheDomain: 7 })
    expect(hitsOf(text(10, 11), { cacheDomain: 7 })).toEqual([0, 1])
    expect(hitsOf(text(10, 11), { cacheDomain: 8 })).toEqual([])
  })

  it('shares a block among its holders and keeps it when the last one leaves', () => {
    const { run, hitsOf, pool, release } = makeCache()
    const first = run([...text(10), 5])
    const second = run([...text(10), 6])
    expect([first.hits, second.hits]).toEqual([0, 1])
    expect(pool.refCount(0 as BlockId)).toBe(2)
    release(first.sequence)
    release(second.sequence)
    expect([pool.numFree, pool.numCachedFree]).toEqual([8, 1])
    expect(hitsOf(text(10))).toEqual([0])
  })

  it('leaves a second copy of a block uncached, and chains what follows to the first', () => {
    const { cache, run, hitsOf, pool, release } = makeCache()
    run(text(10)) // its only block is not looked up, because its last token is computed
    const copy = run(text(10, 11))
    const again = run(text(10))
    expect([copy.hits, again.hits, cache.numEntries]).toEqual([1, 0, 2])
    expect(hitsOf(text(10, 11))).toEqual([0, 1])
    release(again.sequence)
    expect([pool.numFree, pool.numCachedFree]).toEqual([6, 0])
  })

  it('evicts what was unused longest, the end of a chain before its beginning', () => {
    const { run, hitsOf, pool, release } = makeCache(6)
    const old = run(text(10, 11, 12))
    const young = run(text(20, 21))
    release(old.sequence)
    release(young.sequence)
    expect([pool.numFree, pool.numCachedFree]).toEqual([6, 5])
    run(text(30, 31)) // the blank one, then the old chain's end
    expect([hitsOf(text(10, 11, 12)), hitsOf(text(20, 21))]).toEqual([
      [0, 1],
      [3, 4],
    ])
    run(text(40, 41))
    expect([hitsOf(text(10, 11, 12)), hitsOf(text(20, 21))]).toEqual([[], [3, 4]])
  })

  it('does not find what followed an evicted block, even when that block holds equal tokens again', () => {
    const { run, hitsOf, pool, release } = makeCache(4)
    const chain = run(text(10, 11))
    // Released in the wrong order, so that the beginning goes first.
    pool.release(0 as BlockId)
    pool.release(1 as BlockId)
    chain.sequence.numBlocks = 0
    const other = run(text(20, 21, 22))
    expect(hitsOf(text(10, 11))).toEqual([])
    release(other.sequence)
    run(text(10))
    expect(hitsOf(text(10, 11))).toHaveLength(1)
  })
})

describe('an engine with a prefix cache', () => {
  const prompt = Array.from({ length: 14 }, (_, index) => (index * 7) % 2)

  it('answers a hit as a miss, and counts the tokens that it found', async () => {
    const { core, drain } = makeTestEngine({ scheduling: ON })
    core.add(makeSpec(1, { promptIds: prompt }))
    const first = await drain()
    core.add(makeSpec(2, { promptIds: prompt }))
    const second = await drain()
    expect(tokensOf(second, 2)).toEqual(tokensOf(first, 1))
    const cached = [lastOf(first, 1), lastOf(second, 2)].map(
      (last) => last?.timing?.numCachedTokens,
    )
    expect(cached).toEqual([0, 12])
  })

  it('finds an answer when the conversation goes on from it', async () => {
    const { core, drain } = makeTestEngine({ scheduling: ON })
    core.add(makeSpec(1, { promptIds: prompt, maxTokens: 8 }))
    const answer = tokensOf(await drain(), 1)
    core.add(makeSpec(2, { promptIds: [...prompt, ...answer, 0] }))
    // 14 + 8 known tokens, the last of which was never computed: five full blocks.
    expect(lastOf(await drain(), 2)?.timing?.numCachedTokens).toBe(20)
  })

  it('finds nothing when it is off, or when the executor cannot share KV', async () => {
    const off = makeTestEngine()
    const incapable = makeTestEngine({ scheduling: ON })
    incapable.executor.capabilities.supportsPrefixReuse = false
    const { core } = makeTestEngine({ scheduling: ON, executor: incapable.executor })
    for (const engine of [off.core, core]) {
      for (const id of [1, 2]) {
        engine.add(makeSpec(id, { promptIds: prompt }))
        while (engine.hasWork) await engine.step()
      }
      expect(engine.stats().numCachedBlocks).toBe(0)
    }
  })

  it('computes every row that has to report a prompt logprob', async () => {
    const { core, drain } = makeTestEngine({ scheduling: ON })
    core.add(makeSpec(1, { promptIds: prompt, promptLogprobs: 0 }))
    const first = await drain()
    core.add(makeSpec(2, { promptIds: prompt, promptLogprobs: 0 }))
    const second = await drain()
    const entriesOf = (updates: typeof first) => updates.flatMap((one) => one.promptLogprobs ?? [])
    expect(entriesOf(second)).toEqual(entriesOf(first))
    expect(entriesOf(second)).toHaveLength(prompt.length - 1)
    expect(lastOf(second, 2)?.timing?.numCachedTokens).toBe(0)
  })

  it('publishes nothing of a step that failed, nor of one whose row was unusable', async () => {
    const { core, executor, drain } = makeTestEngine({ scheduling: ON })
    executor.failure = new Error('gone')
    core.add(makeSpec(1, { promptIds: prompt }))
    await drain()
    executor.unusableSlots.add(0)
    core.add(makeSpec(2, { promptIds: prompt }))
    await drain()
    expect(core.stats()).toMatchObject({ numCachedBlocks: 0, numFreeBlocks: 16 })
  })

  it('lets a sequence in whose prefix is held by others, although the pool could not hold it twice', async () => {
    const { core } = makeTestEngine({ scheduling: ON, limits: { numBlocks: 6, maxNumSeqs: 2 } })
    core.add(makeSpec(1, { promptIds: prompt, maxTokens: 6 }))
    await core.step()
    core.add(makeSpec(2, { promptIds: [...prompt.slice(0, 12), 1], maxTokens: 2 }))
    await core.step()
    expect(core.stats()).toMatchObject({ numRunning: 2, numFreeBlocks: 1 })
    core.checkIntegrity()
  })
})
