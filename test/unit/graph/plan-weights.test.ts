import { describe, expect, it } from 'vitest'
import { ServingError } from '../../../src/base/errors.ts'
import type { TensorFormat } from '../../../src/base/tensor-format.ts'
import {
  matchesPattern,
  SOURCE_WEIGHTS,
  type WeightsChoice,
} from '../../../src/base/weights-choice.ts'
import type { TensorInfo } from '../../../src/checkpoint/checkpoint.ts'
import type { Graph } from '../../../src/graph/graph.ts'
import { GraphBuilder } from '../../../src/graph/graph-builder.ts'
import { planWeights, type WeightPlan } from '../../../src/graph/plan-weights.ts'

interface Shape {
  readonly isTied?: boolean
  readonly format?: TensorFormat
  /** Of the one layer's input; 64 unless a test wants rows that are not whole blocks. */
  readonly width?: number
}

/** Embedding, one linear layer of two tensors, head. */
function graphOf({ isTied = false, format = 'BF16', width = 64 }: Shape = {}): Graph {
  const tensor = (name: string, ...shape: number[]): TensorInfo => {
    return { name, format, shape, file: 'f', offset: 0, byteLength: 0 }
  }
  const builder = new GraphBuilder()
  const table = tensor('embed.weight', 100, width)
  const x = builder.embedding(table)
  const normed = builder.rmsNorm(x, tensor('norm.weight', width), { epsilon: 1e-5 })
  const parts = [tensor('layers.0.a', 32, width), tensor('layers.0.b', width - 32, width)]
  const y = builder.linear(normed, parts)
  const head = isTied ? table : tensor('head.weight', 100, width)
  return builder.finish(builder.linear(builder.gatherRows(y), [head]), 8)
}

function plan(choice: Partial<WeightsChoice>, shape?: Shape): WeightPlan {
  return planWeights(graphOf(shape), { ...SOURCE_WEIGHTS, ...choice })
}

/** Packed format of each matrix. */
function formats(choice: Partial<WeightsChoice>, shape?: Shape): Record<string, string> {
  return Object.fromEntries(plan(choice, shape).tensors.map(({ name, packed }) => [name, packed]))
}

function failure(choice: Partial<WeightsChoice>, shape?: Shape) {
  try {
    plan(choice, shape)
  } catch (error) {
    if (error instanceof ServingError) return error
  }
  throw new Error('expected a ServingError')
}

/** A router and two experts between embedding and head. */
function mixtureOf(): Graph {
  const tensor = (name: string, ...shape: number[]): TensorInfo => {
    return { name, format: 'BF16', shape, file: 'f', offset: 0, byteLength: 0 }
  }
  const builder = new GraphBuilder()
  const x = builder.embedding(tensor('embed.weight', 100, 64))
  const logits = builder.linear(x, [tensor('gate.weight', 2, 64)])
  const y = builder.moe(x, logits, {
    router: { scoring: 'softmax', topK: 1, normalize: true },
    gateUp: { weights: [0, 1].map((i) => [tensor(`experts.${i}.up`, 64, 64)]) },
    down: { weights: [0, 1].map((i) => [tensor(`experts.${i}.down`, 64, 32)]) },
    unit: { kind: 'silu' },
  })
  return builder.finish(builder.linear(builder.gatherRows(y), [tensor('head.weight', 100, 64)]), 8)
}

describe('planWeights', () => {
  it('leaves everything as stored unless something else is wished', () => {
    const { tensors, weights } = plan({})
    expect(tensors.map(({ packed }) => packed)).toEqual(['BF16', 'BF16', 'BF16', 'BF16'])
    const targets = weights.flatMap((weight) => ('targets' in weight ? (weight.targets ?? []) : []))
    expect(targets).toEqual([null, null, null, null])
  })

  it('counts packed bytes: tiles of 32 rows for matrices, f32 for vectors', () => {
    const bf16 = (rows: number) => Math.ceil(rows / 32) * 32 * 64 * 2
    expect(plan({}).packedBytes).toBe(2 * bf16(100) + 2 * bf16(32) + 64 * 4)
    const int4 = (rows: number) => Math.ceil(rows / 32) * 2 * 640
    const int8 = (rows: number) => Math.ceil(rows / 32) * 2 * 1088
    expect(plan({ format: 'int4' }).packedBytes).toBe(2 * int8(100) + 2 * int4(32) + 64 * 4)
  })

  it('keeps embedding and head in int8 when the rest is int4, and says why', () => {
    expect(formats({ format: 'int4' })).toEqual({
      'embed.weight': 'Q8_0',
      'layers.0.a': 'Q4_1',
      'layers.0.b': 'Q4_1',
      'head.weight': 'Q8_0',
    })
    const reason = 'a small share of the bytes, and sensitive'
    expect(plan({ format: 'int4' }).decided).toMatchObject({
      head: { value: 'int8', reason },
      embedding: { value: 'int8', reason },
    })
  })

  it('heeds head, embedding, symmetry and the last override that matches', () => {
    expect(
      formats({
        format: 'int4',
        head: 'bf16',
        embedding: 'int4',
        symmetry: 'symmetric',
        overrides: [
          { pattern: 'layers.*', format: 'f32' },
          { pattern: 'layers.?.b', format: 'int8' },
        ],
      }),
    ).toEqual({
      'embed.weight': 'Q4_0',
      'layers.0.a': 'F32',
      'layers.0.b': 'Q8_0',
      'head.weight': 'BF16',
    })
  })

  it('writes blocks with the group that was asked for, dense formats with none', () => {
    const choice = { format: 'int8', head: 'f16', group: 128 } as const
    const [embedding, , linear, head] = plan(choice).weights
    expect([embedding, linear, head]).toMatchObject([
      { targets: [{ format: 'Q8_0', group: 128 }] },
      {
        targets: [
          { format: 'Q8_0', group: 128 },
          { format: 'Q8_0', group: 128 },
        ],
      },
      { targets: [{ format: 'F16', group: null }] },
    ])
    const [whole] = plan({ format: 'int8', group: 'channel' }).weights
    expect(whole).toMatchObject({ targets: [{ format: 'Q8_0', group: null }] })
  })

  it('gives a table that is embedding and head one format, and refuses two', () => {
    const tied = { isTied: true }
    expect(formats({ format: 'int4', head: 'f16' }, tied)['embed.weight']).toBe('F16')
    expect(formats({ format: 'int4', embedding: 'f16' }, tied)['embed.weight']).toBe('F16')
    const error = failure({ head: 'f16', embedding: 'int8' }, tied)
    expect(error).toMatchObject({ code: 'GRAPH_WEIGHTS_TIED', param: '--weights-embedding' })
    expect(error.message).toContain('got f16 and int8')
  })

  it('keeps what is stored in the format already, or in about four bits when int4 is asked for', () => {
    const packed = (format: TensorFormat, choice: Partial<WeightsChoice>) =>
      formats(choice, { format, width: 256 })['layers.0.a']
    expect(packed('Q4_0', { format: 'int4' })).toBe('Q4_0')
    expect(packed('Q4_K', { format: 'int4' })).toBe('Q4_K')
    expect(packed('Q4_0', { format: 'int4', symmetry: 'asymmetric' })).toBe('Q4_1')
    expect(packed('Q6_K', { format: 'int4' })).toBe('Q4_1')
    expect(packed('Q4_1', { format: 'f32' })).toBe('F32')
    const [reason] = plan(
      { format: 'int4', head: 'int4', embedding: 'int4' },
      { format: 'Q4_K', width: 256 },
    ).tensors
    expect(reason?.keptBecause).toBe('stored in about 4 bits already')
  })

  it('keeps matrices whose rows are not whole blocks, with the reason', () => {
    const { tensors } = plan({ format: 'int8' }, { width: 48 })
    expect(tensors.map(({ packed, keptBecause }) => [packed, keptBecause])).toEqual(
      tensors.map(() => ['BF16', 'rows of 48 are not whole blocks of 32']),
    )
  })

  it('refuses what nothing would heed', () => {
    const error = failure({ overrides: [{ pattern: 'blk.*', format: 'f32' }] })
    expect(error).toMatchObject({ code: 'GRAPH_WEIGHTS_UNMATCHED', param: '--weights-override' })
    expect(error.message).toContain('blk.*=f32')
    expect(error.message).toContain('embed.weight, layers.0.a, layers.0.b')
    const code = 'GRAPH_WEIGHTS_UNSUPPORTED'
    expect(failure({ group: 64 })).toMatchObject({ code, param: '--weights-group' })
    expect(failure({ format: 'f32', symmetry: 'symmetric' })).toMatchObject({
      code,
      param: '--weights-symmetry',
    })
    expect(failure({ format: 'int8', symmetry: 'asymmetric' })).toMatchObject({ code })
  })

  it('keeps routers as they are stored where weights get few bits, unless they are named', () => {
    const gate = (choice: Partial<WeightsChoice>) => {
      const { tensors } = planWeights(mixtureOf(), { ...SOURCE_WEIGHTS, ...choice })
      expect(tensors.find(({ name }) => name === 'experts.1.up')?.packed).not.toBe('BF16')
      return tensors.find(({ name }) => name === 'gate.weight')
    }
    const kept = {
      role: 'router',
      packed: 'BF16',
      keptBecause: expect.stringContaining('choice of experts'),
    }
    expect(gate({ format: 'int4' })).toMatchObject(kept)
    expect(gate({ format: 'int8' })).toMatchObject(kept)
    expect(gate({ format: 'f32' })).toMatchObject({ packed: 'F32', keptBecause: null })
    const overrides = [{ pattern: 'gate.*', format: 'int8' }] as const
    expect(gate({ format: 'int4', overrides })).toMatchObject({ packed: 'Q8_0' })
  })
})

it('patterns match whole names, and only * and ? are special', () => {
  expect(matchesPattern('a.*.b', 'a.0.c.b')).toBe(true)
  expect(matchesPattern('a.?.b', 'a.10.b')).toBe(false)
  expect(matchesPattern('a.b', 'axb')).toBe(false)
  expect(matchesPattern('b', 'a.b')).toBe(false)
  expect(matchesPattern('[a](*', '[a](b')).toBe(true)
})
