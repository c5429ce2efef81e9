import { describe, expect, it } from 'vitest'
import { ServingError } from '../../../src/base/errors.ts'
import type { EngineConfig } from '../../../src/config/runtime-config.ts'
import { type EnginePlan, planEngine } from '../../../src/deployment/engine-plan.ts'

const GIBIBYTE = 2 ** 30
const MEBIBYTE = 2 ** 20
const config: EngineConfig = {
  threads: 2,
  kvMemoryBytes: null,
  swapBytes: null,
  activations: 'int8',
  kvDtype: 'bf16',
  blockSize: 32,
  maxNumBatchedTokens: 512,
  maxNumSeqs: 4,
  maxContextTokens: null,
  scheduling: { prefixCache: true, targetItl: 'auto', maxDraftTokens: 16 },
}
const SWAPS = {
  key: 'engine.swapSpace',
  reason: 'a quarter of the KV memory, taken when it is first used',
  origin: 'auto',
} as const
const facts = { weightsBytes: 100 * MEBIBYTE, kvBytesPerToken: 16_384, maxContextTokens: 2048 }

function plan(change: Partial<EngineConfig>, freeMemoryBytes: number): EnginePlan {
  const hardware = { freeMemoryBytes, memoryReason: 'free memory' }
  return planEngine({ ...config, ...change }, facts, hardware)
}

function failure(change: Partial<EngineConfig>, freeMemoryBytes: number): ServingError {
  try {
    plan(change, freeMemoryBytes)
  } catch (error) {
    if (error instanceof ServingError) return error
  }
  throw new Error('expected a ServingError')
}

describe('planEngine', () => {
  it('takes no more KV memory than the sequences could ever use', () => {
    expect(plan({}, 64 * GIBIBYTE)).toEqual({
      kvMemoryBytes: 4 * 2048 * 16_384,
      minKvMemoryBytes: 2048 * 16_384,
      swapBytes: 2048 * 16_384,
      maxContextTokens: 2048,
      choices: [
        {
          key: 'engine.kvMemory',
          value: '128.0 MiB',
          reason: 'all that 4 sequences of 2048 tokens can use',
          origin: 'auto',
        },
        { key: 'engine.maxContext', value: '2048', reason: 'of the checkpoint', origin: 'auto' },
        { ...SWAPS, value: '32.0 MiB' },
      ],
    })
  })

  it('takes the swap space that was asked for, and none where none was', () => {
    for (const swapBytes of [0, 5 * MEBIBYTE])
      expect(plan({ swapBytes }, 64 * GIBIBYTE)).toMatchObject({ swapBytes })
  })

  it('takes a quarter of what weights and reserve leave free, in whole blocks', () => {
    const { kvMemoryBytes, maxContextTokens } = plan({}, (130 + 512 + 256) * MEBIBYTE)
    expect({ kvMemoryBytes, maxContextTokens }).toEqual({
      kvMemoryBytes: 64 * MEBIBYTE,
      maxContextTokens: 2048,
    })
  })

  it('shortens the context to what the memory holds, and says so', () => {
    const { maxContextTokens, choices } = plan({ kvMemoryBytes: 16 * MEBIBYTE }, GIBIBYTE)
    expect(maxContextTokens).toBe(1024)
    expect(choices).toEqual([
      {
        key: 'engine.maxContext',
        value: '1024',
        reason: 'what the KV memory can hold',
        origin: 'auto',
      },
      { ...SWAPS, value: '4.00 MiB' },
    ])
  })

  it('refuses memory in which not even a short chat fits, and names the flag', () => {
    expect(failure({}, 600 * MEBIBYTE)).toMatchObject({
      code: 'DEPLOYMENT_KV_MEMORY_TOO_SMALL',
      param: '--kv-memory',
    })
    expect(failure({ kvMemoryBytes: MEBIBYTE }, GIBIBYTE).message).toContain('--kv-memory 4.00MiB')
  })

  it('refuses a context beyond the checkpoint or the memory', () => {
    const tooLong = failure({ maxContextTokens: 4096 }, GIBIBYTE)
    expect(tooLong.message).toContain('at most 2048, which is what the checkpoint allows')
    const noRoom = failure({ maxContextTokens: 2048, kvMemoryBytes: 16 * MEBIBYTE }, GIBIBYTE)
    expect(noRoom.message).toContain('at most 1024, which is what 16.0 MiB of KV memory can hold')
  })
})
