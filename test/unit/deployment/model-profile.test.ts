import { describe, expect, it } from 'vitest'
import type { WeightsChoice } from '../../../src/base/weights-choice.ts'
import { type ProfiledFacts, profileModel } from '../../../src/deployment/model-profile.ts'
import type { WeightPlan } from '../../../src/graph/plan-weights.ts'

const MEBIBYTE = 2 ** 20
const SIZES = { source: 800, f32: 1600, bf16: 800, f16: 800, int8: 425, int4: 250 } as const

const facts: ProfiledFacts = {
  exported: null,
  config: { maxContextTokens: 1024 },
  kvBytesPerToken: (dtype) => (dtype === 'f32' ? 2 : 1) * 2 ** 16,
  planWeights: ({ format }: WeightsChoice) =>
    ({ packedBytes: SIZES[format] * MEBIBYTE }) as WeightPlan,
}

function profile(freeMebibytes: number, change: Partial<ProfiledFacts> = {}) {
  const freeMemoryBytes = freeMebibytes * MEBIBYTE
  return profileModel({ ...facts, ...change }, { freeMemoryBytes, memoryReason: 'free memory' })
}

describe('profileModel', () => {
  it('has a row for each choice of weights and KV', () => {
    const { rows } = profile(4096)
    expect(rows.map(({ weights, kv }) => `${weights} ${kv}`)).toEqual(
      Object.keys(SIZES).flatMap((format) =>
        ['f32', 'bf16', 'int8'].map((kv) => `${format} ${kv}`),
      ),
    )
    expect(rows[1]).toEqual({
      weights: 'source',
      kv: 'bf16',
      weightsBytes: 800 * MEBIBYTE,
      kvBytesPer1000Tokens: 65_536_000,
      neededBytes: (1040 + 512 + 64) * MEBIBYTE,
      roomTokens: (4096 - 1040 - 512) * 16,
      isFit: true,
    })
  })

  it('advises the stored format as long as it fits with one whole context', () => {
    expect(profile(1616).advised).toEqual({ weights: 'source', kv: 'bf16' })
    expect(profile(1616).reason).toBe(
      'as its author stored it, nothing lost: 1.58 GiB with a context of 1,024 tokens, of 1.58 GiB of free memory',
    )
  })

  it('advises the most exact that fits when the stored format does not', () => {
    expect(profile(1615).advised.weights).toBe('int8')
    expect(profile(950).advised.weights).toBe('int4')
  })

  it('says how much fits when no whole context does, and when nothing does', () => {
    const { advised, reason } = profile(850)
    expect(advised.weights).toBe('int4')
    expect(reason).toBe(
      'only 208 tokens fit in 850.0 MiB of free memory; one whole context needs 901.0 MiB',
    )
    expect(profile(100).reason).toMatch(/^nothing fits in 100.0 MiB/)
  })

  it('has the stored format alone for a graph that somebody else exported', () => {
    const exported = {} as ProfiledFacts['exported']
    expect(new Set(profile(4096, { exported }).rows.map(({ weights }) => weights))).toEqual(
      new Set(['source']),
    )
  })
})
