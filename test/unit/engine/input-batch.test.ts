import { describe, expect, it } from 'vitest'
import { makeArrays } from '../../../benchmarks/batch-arrays.ts'
import type { BatchLimits } from '../../../src/engine/executor.ts'
import { InputBatch } from '../../../src/engine/input-batch.ts'
import type { Sequence } from '../../../src/engine/sequence.ts'
import { makeTestSequence, type SpecParts } from '../../support/engine-builders.ts'
import { makeLimits } from '../../support/fake-executor.ts'

interface Share extends SpecParts {
  readonly blocks: readonly number[]
  readonly numComputedTokens?: number
  readonly numScheduledTokens: number
}

function makeBatch(overrides: Partial<BatchLimits> = {}) {
  const limits = makeLimits(overrides)
  const arrays = makeArrays(limits)
  const batch = new InputBatch(limits, arrays)
  let numArrivals = 0
  const make = ({ blocks, numComputedTokens, numScheduledTokens, ...parts }: Share): Sequence => {
    const sequence = makeTestSequence(numArrivals++, limits, parts)
    sequence.reserve()
    sequence.blockTable.set(blocks)
    sequence.numBlocks = blocks.length
    sequence.numComputedTokens = numComputedTokens ?? 0
    sequence.numScheduledTokens = numScheduledTokens
    batch.takeSlot(sequence)
    return sequence
  }
  return { batch, arrays, limits, make }
}

const head = (array: Int32Array, count: number) => Array.from(array.subarray(0, count))

describe('InputBatch', () => {
  it('says of each row whose adapter answers it, also where another one stood before', () => {
    const { batch, arrays, make } = makeBatch()
    const rows = { blocks: [9], numComputedTokens: 0, numScheduledTokens: 2 }
    batch.fill([
      make({ ...rows, promptIds: [1, 0, 1], adapter: 3 }),
      make({ ...rows, promptIds: [1, 1, 1] }),
      make({ ...rows, promptIds: [0, 0, 1], adapter: 1 }),
    ])
    expect(head(arrays.adapterRows, 6)).toEqual([3, 3, 0, 0, 1, 1])
    batch.fill([make({ ...rows, promptIds: [1, 0, 1] })])
    expect(head(arrays.adapterRows, 2)).toEqual([0, 0])
  })

  it('lays a chunk and a decode row behind each other', () => {
    const { batch, arrays, make, limits } = makeBatch()
    const chunk = make({
      promptIds: [1, 0, 1, 1, 0, 1, 0],
      blocks: [9, 2],
      numComputedTokens: 3,
      numScheduledTokens: 3,
    })
    const decode = make({
      promptIds: [0, 1],
      blocks: [5],
      numComputedTokens: 1,
      numScheduledTokens: 1,
      topLogprobs: 2,
    })
    batch.fill([chunk, decode])
    expect([batch.numTokens, batch.numSeqs, batch.numLogitsRows]).toEqual([4, 2, 1])
    expect(head(arrays.tokenIds, 4)).toEqual([1, 0, 1, 1])
    expect(head(arrays.positions, 4)).toEqual([3, 4, 5, 1])
    expect(head(arrays.slotMapping, 4)).toEqual([9 * 4 + 3, 2 * 4, 2 * 4 + 1, 5 * 4 + 1])
    expect(head(arrays.queryStarts, 3)).toEqual([0, 3, 4])
    expect(head(arrays.contextLengths, 2)).toEqual([6, 2])
    expect(head(arrays.blockTables, 2)).toEqual([9, 2])
    expect(arrays.blockTables[limits.maxBlocksPerSeq]).toBe(5)
    // Only the decode row reaches its last known token; it is drawn for position 2 by sampler slot 1.
    expect(head(arrays.logitsRows, 1)).toEqual([3])
    expect(head(arrays.samplerSlots, 1)).toEqual([1])
    expect(head(arrays.samplePositions, 1)).toEqual([2])
    expect(head(arrays.targetIds, 1)).toEqual([-1])
    expect(head(arrays.topLogprobCounts, 1)).toEqual([2])
  })

  it('asks for the next prompt token’s logprob on each prompt row, and draws from the last', () => {
    const { batch, arrays, make } = makeBatch()
    const sequence = make({
      promptIds: [1, 0, 1, 1],
      blocks: [0],
      numScheduledTokens: 4,
      promptLogprobs: 3,
    })
    batch.fill([sequence])
    expect(head(arrays.logitsRows, 4)).toEqual([0, 1, 2, 3])
    expect(head(arrays.targetIds, 4)).toEqual([0, 1, 1, -1])
    expect(head(arrays.samplerSlots, 4)).toEqual([-1, -1, -1, 0])
    expect(head(arrays.samplePositions, 4)).toEqual([1, 2, 3, 4])
    expect(head(arrays.topLogprobCounts, 4)).toEqual([3, 3, 3, -1])
  })

  it('does not ask again for prompt logprobs that were reported before a preemption', () => {
    const { batch, arrays, make } = makeBatch()
    const sequence = make({
      promptIds: [1, 0, 1, 1],
      blocks: [0],
      numScheduledTokens: 4,
      promptLogprobs: 0,
    })
    sequence.nextPromptRow = 2
    batch.fill([sequence])
    expect(head(arrays.logitsRows, 2)).toEqual([2, 3])
    expect(head(arrays.targetIds, 2)).toEqual([1, -1])
  })

  it('leaves out sequences without a share and forgets those that left', () => {
    const { batch, make } = makeBatch()
    const [idle, busy] = [
      make({ blocks: [0], numScheduledTokens: 0 }),
      make({ blocks: [1], numScheduledTokens: 2 }),
    ]
    batch.fill([idle, busy])
    expect(batch.sequences).toEqual([busy, null, null, null])
    batch.fill([])
    expect(batch.sequences).toEqual([null, null, null, null])
    expect([batch.numTokens, batch.numSeqs, batch.numLogitsRows]).toEqual([0, 0, 0])
  })

  it('copies a whole new table when a sequence comes back to the same row after a preemption', () => {
    const { batch, arrays, make } = makeBatch()
    const sequence = make({
      promptTokens: 8,
      blocks: [3, 4],
      numComputedTokens: 7,
      numScheduledTokens: 1,
    })
    batch.fill([sequence])
    sequence.tableVersion += 1
    sequence.numComputedTokens = 0
    sequence.numScheduledTokens = 8
    sequence.blockTable.set([6, 7])
    batch.fill([sequence])
    expect(head(arrays.blockTables, 2)).toEqual([6, 7])
  })

  it('keeps a sequence’s sampler slot while others come and go', () => {
    const { batch, make } = makeBatch({ maxNumSeqs: 3 })
    const make1 = () => make({ blocks: [0], numScheduledTokens: 1 })
    const [first, second, third] = [make1(), make1(), make1()]
    expect([first, second, third].map((sequence) => sequence.samplerSlot)).toEqual([0, 1, 2])
    expect(make1).toThrow('invariant I1')
    batch.freeSlot(second)
    expect(make1().samplerSlot).toBe(1)
    expect([first.samplerSlot, second.samplerSlot, third.samplerSlot]).toEqual([0, -1, 2])
    expect(() => batch.freeSlot(second)).toThrow('invariant I1')
  })
})
