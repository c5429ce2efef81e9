import { expect, it } from 'vitest'
import { type MemoryPlanInput, planMemory } from '../../../src/execution/memory-plan.ts'

/** SmolLM2-135M: 46,080 bytes a token in f32, 23,040 in bf16. */
const input: MemoryPlanInput = {
  kvLayers: Array.from({ length: 30 }, () => ({ numKvHeads: 3, headDim: 64 })),
  kvDtype: 'f32',
  kvMemoryBytes: 100 * 32 * 46_080,
  blockSize: 32,
  maxNumBatchedTokens: 512,
  maxNumSeqs: 32,
  maxContextTokens: 8192,
  vocabSize: 49_152,
}

it('makes as many blocks as the memory holds', () => {
  const { limits, kvBytesPerToken } = planMemory(input)
  expect(kvBytesPerToken).toBe(46_080)
  expect(limits).toEqual({
    maxNumBatchedTokens: 512,
    maxNumSeqs: 32,
    maxBlocksPerSeq: 256,
    maxLogitsRows: 341,
    blockSize: 32,
    numBlocks: 100,
    vocabSize: 49_152,
  })
  expect(planMemory({ ...input, kvDtype: 'bf16' }).limits.numBlocks).toBe(200)
  expect(planMemory({ ...input, kvMemoryBytes: input.kvMemoryBytes - 1 }).limits.numBlocks).toBe(99)
})

it('has a block table for the whole context, the last block only partly used', () => {
  expect(planMemory({ ...input, maxContextTokens: 33 }).limits.maxBlocksPerSeq).toBe(2)
})

it.each([
  ['64 MiB of logits', {}, 341],
  ['one for each token and sequence', { maxNumBatchedTokens: 4 }, 36],
  ['one more than the sequences, whatever that takes', { maxNumSeqs: 400 }, 401],
])('gives logits rows: %s', (_, change, maxLogitsRows) => {
  expect(planMemory({ ...input, ...change }).limits.maxLogitsRows).toBe(maxLogitsRows)
})

it('refuses memory of less than one block, saying how long a context fits', () => {
  expect(() => planMemory({ ...input, kvMemoryBytes: 32 * 46_080 - 1 })).toThrow(
    expect.objectContaining({
      code: 'EXECUTION_KV_MEMORY_TOO_SMALL',
      details: {
        blockSize: 32,
        blockBytes: 32 * 46_080,
        kvMemoryBytes: 32 * 46_080 - 1,
        fittingTokens: 31,
      },
    }),
  )
})

it('keeps every flat index within 31 bits', () => {
  const { limits } = planMemory({ ...input, kvMemoryBytes: 2 ** 53 })
  expect(limits.numBlocks * limits.blockSize).toBeLessThan(2 ** 31)
  expect(() => planMemory({ ...input, maxContextTokens: 2 ** 34 })).toThrow(
    expect.objectContaining({ code: 'EXECUTION_LIMIT_TOO_LARGE' }),
  )
})
