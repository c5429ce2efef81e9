import { describe, expect, it } from 'vitest'
import { KV_DTYPES, kvBytesPerToken } from '../../../src/base/kv-dtype.ts'

describe('kvBytesPerToken', () => {
  it('counts K and V of every layer, each with its own geometry', () => {
    const smol = Array.from({ length: 30 }, () => ({ numKvHeads: 3, headDim: 64 }))
    const bytes = KV_DTYPES.map((dtype) => [dtype, kvBytesPerToken(smol, dtype)])
    expect(bytes).toEqual([
      ['f32', 46_080],
      ['bf16', 23_040],
      ['f16', 23_040],
      // A byte a number, and two scales of four bytes a head.
      ['int8', 12_240],
    ])
    const mixed = [
      { numKvHeads: 1, headDim: 256 },
      { numKvHeads: 4, headDim: 128 },
    ]
    expect(kvBytesPerToken(mixed, 'bf16')).toBe(2 * 2 * (256 + 512))
  })

  it('counts what the pool rounds up: keys to whole words, values to whole vectors', () => {
    const bytes = KV_DTYPES.map((dtype) => kvBytesPerToken([{ numKvHeads: 1, headDim: 9 }], dtype))
    expect(bytes).toEqual([4 * (9 + 16), 2 * (10 + 16), 2 * (9 + 16), 12 + 16 + 8])
  })

  it('counts values that are narrower than keys by their own width', () => {
    expect(kvBytesPerToken([{ numKvHeads: 1, headDim: 576, valueDim: 512 }], 'f32')).toBe(4352)
  })
})
