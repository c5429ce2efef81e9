/** Each operator alone in a real session: built, lowered, loaded and stepped, against the same mathematics in f64. */

import { afterAll, describe, expect, it } from 'vitest'
import type { TensorInfo } from '../../src/checkpoint/checkpoint.ts'
import type { AttributeValue, GraphValue } from '../../src/graph/graph.ts'
import type { GraphBuilder } from '../../src/graph/graph-builder.ts'
import type { ActivationKind } from '../../src/graph/operator-options.ts'
import { runGraph, TensorFile } from '../support/graph-run.ts'
import { scratchFolder } from '../support/tiny-model.ts'

const folder = scratchFolder()
afterAll(folder.remove)

const WIDTH = 48
const TOKENS = [3, 0, 7, 7, 2]

/** Rows of an operator on embedded tokens, and those rows before it. */
async function rowsOf(
  name: string,
  build: (builder: GraphBuilder, x: GraphValue, tensors: TensorFile) => GraphValue,
): Promise<{ before: number[][]; after: number[][]; tensors: TensorFile }> {
  const tensors = new TensorFile(folder.path, `${name}.bin`)
  const table = tensors.random('table', 8, WIDTH)
  const after = await runGraph({
    tensors,
    build: (builder) => build(builder, builder.embedding(table), tensors),
    tokens: TOKENS,
  })
  const values = tensors.values.get('table') ?? new Float32Array()
  const before = TOKENS.map((token) => [...values.subarray(token * WIDTH, (token + 1) * WIDTH)])
  return { before, after, tensors }
}

function expectClose(got: readonly number[][], expected: readonly number[][]): void {
  expect(got.map((row) => row.length)).toEqual(expected.map((row) => row.length))
  for (const [row, values] of expected.entries()) {
    for (const [column, value] of values.entries()) {
      expect(got[row]?.[column], `row ${row}, column ${column}`).toBeCloseTo(value, 4)
    }
  }
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0)
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x))
const gelu = (x: number) =>
  (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))

function rms(x: readonly number[], weight: ArrayLike<number>, epsilon: number): number[] {
  const factor = 1 / Math.sqrt(sum(x.map((v) => v * v)) / x.length + epsilon)
  return x.map((value, i) => value * factor * (weight[i] ?? 0))
}

describe('an operator in a session', () => {
  it('LayerNorm: with and without a bias', async () => {
    for (const hasBias of [true, false]) {
      const { before, after, tensors } = await rowsOf('layer-norm', (builder, x, tensors) => {
        const weight = tensors.random('weight', WIDTH)
        const bias = hasBias ? tensors.random('bias', WIDTH) : null
        return builder.layerNorm(x, weight, { epsilon: 1e-5, bias })
      })
      const [weight, bias] = ['weight', 'bias'].map((name) => tensors.values.get(name))
      const expected = before.map((x) => {
        const mean = sum(x) / WIDTH
        const centered = x.map((value) => value - mean)
        const factor = 1 / Math.sqrt(sum(centered.map((v) => v * v)) / WIDTH + 1e-5)
        return centered.map((value, i) => value * factor * (weight?.[i] ?? 0) + (bias?.[i] ?? 0))
      })
      expectClose(after, expected)
    }
  })

  it('QkNorm: each head by itself, or all of q and all of k', async () => {
    const heads = { numHeads: 3, numKvHeads: 1, headDim: 8 }
    for (const scope of ['head', 'all'] as const) {
      const [queryWidth, keyWidth] = scope === 'head' ? [8, 8] : [24, 8]
      const { before, after, tensors } = await rowsOf('qk-norm', (builder, x, tensors) => {
        const query = tensors.random('query', queryWidth)
        const key = tensors.random('key', keyWidth)
        return builder.qkNorm(x, { ...heads, query, key, epsilon: 1e-6, scope })
      })
      const [query = [], key = []] = ['query', 'key'].map((n) => tensors.values.get(n))
      const expected = before.map((x) => {
        const out = [...x]
        for (let at = 0; at < 24; at += queryWidth) {
          out.splice(at, queryWidth, ...rms(x.slice(at, at + queryWidth), query, 1e-6))
        }
        out.splice(24, 8, ...rms(x.slice(24, 32), key, 1e-6))
        return out
      })
      expectClose(after, expected)
    }
  })

  it('Add and Scale: a scaled sum, a factor and a soft cap', async () => {
    const { before, after } = await rowsOf('scale', (builder, x) => {
      const doubled = builder.add(x, builder.scale(x, { factor: 0.5 }), { scale: 3 })
      return builder.scale(doubled, { factor: 2, softcap: 4 })
    })
    expectClose(
      after,
      before.map((x) => x.map((value) => 4 * Math.tanh((7 * value) / 4))),
    )
  })

  it('Activation: each kind', async () => {
    const curves: Partial<Record<ActivationKind, (x: number) => number>> = {
      silu: (x) => x * sigmoid(x),
      gelu_tanh: gelu,
      relu: (x) => Math.max(x, 0),
      relu2: (x) => Math.max(x, 0) ** 2,
      quick_gelu: (x) => x * sigmoid(1.702 * x),
    }
    for (const [kind, curve] of Object.entries(curves)) {
      const { before, after } = await rowsOf(kind, (builder, x) =>
        builder.activation(builder.scale(x, { factor: 5 }), kind as ActivationKind),
      )
      expectClose(
        after,
        before.map((x) => x.map((value) => curve(5 * value))),
      )
    }
  })

  it('GatedActivation: halves with GELU, and the clamped interleaved gate of gpt_oss', async () => {
    const plain = await rowsOf('geglu', (builder, x) =>
      builder.gatedActivation(x, { kind: 'gelu_tanh' }),
    )
    const half = WIDTH / 2
    expectClose(
      plain.after,
      plain.before.map((x) => x.slice(0, half).map((gate, i) => gelu(gate) * (x[half + i] ?? 0))),
    )
    const clamped = await rowsOf('clamped', (builder, x) =>
      builder.gatedActivation(builder.scale(x, { factor: 9 }), {
        kind: 'silu',
        layout: 'interleaved',
        limit: 7,
        alpha: 1.702,
        upOffset: 1,
      }),
    )
    const unit = (gate: number, up: number) => (up + 1) * gate * sigmoid(1.702 * gate)
    expectClose(
      clamped.after,
      clamped.before.map((x) =>
        Array.from({ length: half }, (_, i) => {
          const [gate = 0, up = 0] = [x[2 * i], x[2 * i + 1]].map((value) => 9 * (value ?? 0))
          return unit(Math.min(gate, 7), Math.max(-7, Math.min(7, up)))
        }),
      ),
    )
  })

  it('Embedding: of positions', async () => {
    const { after, tensors } = await rowsOf('positions', (builder, x, tensors) => {
      const positions = tensors.random('positions', 9, WIDTH)
      return builder.add(builder.embedding(positions, { ids: 'positions', scale: 2 }), x)
    })
    const table = tensors.values.get('table') ?? []
    const positions = tensors.values.get('positions') ?? []
    const expected = TOKENS.map((token, row) =>
      Array.from(
        { length: WIDTH },
        (_, i) => (table[token * WIDTH + i] ?? 0) + 2 * (positions[row * WIDTH + i] ?? 0),
      ),
    )
    expectClose(after, expected)
  })

  it('Linear: of matrices that are stored in columns', async () => {
    const { before, after, tensors } = await rowsOf('columns', (builder, x, tensors) => {
      const matrices = [tensors.random('a', WIDTH, 40), tensors.random('b', WIDTH, 3)]
      return builder.linear(x, matrices, [], { layout: 'columns' })
    })
    const product = (x: readonly number[], name: string, outs: number) =>
      Array.from({ length: outs }, (_, out) =>
        sum(x.map((value, i) => value * (tensors.values.get(name)?.[i * outs + out] ?? 0))),
      )
    expectClose(
      after,
      before.map((x) => [...product(x, 'a', 40), ...product(x, 'b', 3)]),
    )
  })

  it('SliceHeads and ConcatHeads: undo each other, and change the order of parts', async () => {
    const cut = await rowsOf('heads', (builder, x) => {
      const part = (offset: number, width: number) =>
        builder.sliceHeads(x, { numHeads: 4, offset, width })
      return builder.concatHeads([part(8, 4), part(0, 5), part(5, 3)], 4)
    })
    const order = [8, 9, 10, 11, 0, 1, 2, 3, 4, 5, 6, 7]
    expect(cut.after).toEqual(
      cut.before.map((x) => [0, 12, 24, 36].flatMap((head) => order.map((i) => x[head + i]))),
    )
  })

  it('HeadLinear: each head by a matrix of its own, stored in columns', async () => {
    const { before, after, tensors } = await rowsOf('head-linear', (builder, x, tensors) => {
      const heads = [0, 1, 2].map((head) => tensors.random(`h${head}`, 16, 5))
      return builder.headLinear(x, heads, { layout: 'columns' })
    })
    expectClose(
      after,
      before.map((x) =>
        [0, 1, 2].flatMap((head) =>
          Array.from({ length: 5 }, (_, out) =>
            sum(
              x
                .slice(16 * head, 16 * head + 16)
                .map((value, i) => value * (tensors.values.get(`h${head}`)?.[i * 5 + out] ?? 0)),
            ),
          ),
        ),
      ),
    )
  })

  it('Moe: routed, gated, with biases, and the same with more threads', async () => {
    const [numExperts, inner, topK] = [5, 24, 2]
    const build = (builder: GraphBuilder, x: GraphValue, tensors: TensorFile) => {
      const experts = Array.from({ length: numExperts }, (_, expert) => expert)
      const family = (name: string, ...shape: number[]) =>
        experts.map((expert) => [tensors.random(`experts.${expert}.${name}`, ...shape)])
      const router = builder.linear(x, [tensors.random('router', numExperts, WIDTH)])
      return builder.moe(x, router, {
        router: { scoring: 'softmax', topK, normalize: true, gainScale: 2 },
        gateUp: {
          weights: family('up', 2 * inner, WIDTH),
          biases: family('up.bias', 2 * inner),
        },
        down: { weights: family('down', WIDTH, inner) },
        unit: { kind: 'silu' },
      })
    }
    const { before, after, tensors } = await rowsOf('moe', build)
    const product = (x: readonly number[], name: string) => {
      const values = tensors.values.get(name) ?? new Float32Array()
      return Array.from({ length: values.length / x.length }, (_, out) =>
        sum(x.map((value, i) => value * (values[out * x.length + i] ?? 0))),
      )
    }
    const expert = (x: readonly number[], index: number) => {
      const bias = tensors.values.get(`experts.${index}.up.bias`) ?? []
      const gateUp = product(x, `experts.${index}.up`).map((v, i) => v + (bias[i] ?? 0))
      const unit = gateUp
        .slice(0, inner)
        .map((gate, i) => gate * sigmoid(gate) * (gateUp[inner + i] ?? 0))
      return product(unit, `experts.${index}.down`)
    }
    const expected = before.map((x) => {
      const powers = product(x, 'router').map(Math.exp)
      const chosen = [...powers.keys()]
        .sort((a, b) => (powers[b] ?? 0) - (powers[a] ?? 0))
        .slice(0, topK)
      const total = sum(chosen.map((index) => powers[index] ?? 0))
      const outs = chosen.map((index) =>
        expert(x, index).map((value) => (2 * value * (powers[index] ?? 0)) / total),
      )
      return x.map((_, i) => sum(outs.map((out) => out[i] ?? 0)))
    })
    expectClose(after, expected)
    const again = await runGraph({
      tensors,
      build: (builder) => build(builder, builder.embedding(tensors.info('table')), tensors),
      tokens: TOKENS,
      threads: 3,
    })
    expect(again).toEqual(after)
  })

  it('a matrix in MXFP4 whose exponents lie apart is the one that holds them in its blocks', async () => {
    const [rows, width] = [5, 96]
    const numBlocks = (rows * width) / 32
    const quants = Array.from({ length: rows * width }, (_, i) => (i * 7) % 16)
    const exponents = Array.from({ length: numBlocks }, (_, i) => 120 + (i % 9))
    const block = (index: number) => quants.slice(32 * index, 32 * index + 32)
    const blocks = Array.from({ length: numBlocks }, (_, index) => index)
    const whole = blocks.flatMap((index) => [
      exponents[index] ?? 0,
      ...block(index)
        .slice(0, 16)
        .map((low, i) => low | ((block(index)[16 + i] ?? 0) << 4)),
    ])
    const pairs = blocks.flatMap((index) =>
      Array.from({ length: 16 }, (_, i) => {
        const [low = 0, high = 0] = block(index).slice(2 * i)
        return low | (high << 4)
      }),
    )
    const tensors = new TensorFile(folder.path, 'mxfp4.bin')
    const joined = tensors.addBytes('joined', 'MXFP4', [rows, width], Buffer.from(whole))
    const { file, offset, byteLength } = tensors.addBytes('e', 'F32', [0], Buffer.from(exponents))
    const stored = tensors.addBytes('split', 'MXFP4', [rows, width], Buffer.from(pairs))
    const split = {
      ...stored,
      byteLength: stored.byteLength + byteLength,
      exponents: { file, offset, byteLength },
    }
    const rowsOf = (table: TensorInfo) =>
      runGraph({ tensors, build: (builder) => builder.embedding(table), tokens: [4, 1, 0] })
    expect(await rowsOf(split)).toEqual(await rowsOf(joined))
    const short = { ...split, byteLength: split.byteLength - 17 }
    await expect(rowsOf(short)).rejects.toMatchObject({
      code: 'NATIVE_BAD_WEIGHT',
      message: expect.stringContaining('takes 15 blocks of 16 bytes and as many exponents'),
    })
  })
})

describe('a node is refused when its session is made:', () => {
  it.each<[string, Record<string, AttributeValue>, RegExp]>([
    ['more experts than there are', { numExperts: 4 }, /weight "x3\.up" is not loaded/],
    ['more experts a row than there are', { topK: 4 }, /4 of 3 experts .* cannot be chosen/],
    ['a scoring of another name', { scoring: 'tanh' }, /scoring must be softmax, softmax_chosen/],
    ['a flag that is a number', { normalize: 2 }, /normalize must be 0 or 1/],
    ['groups that cannot be', { numGroups: 2 }, /1 of 2 groups of 3 experts cannot be/],
    [
      'a down that does not fit',
      { down: 'x{}.up' },
      /gateUp is \[32, 48\], but down is \[32, 48\]/,
    ],
    ['a bias of another length', { downBias: 'x{}.short' }, /has 7 numbers, but downBias needs 48/],
    ['a kind of another name', { kind: 'mish' }, /kind must be silu, gelu/],
    ['a layout of another name', { layout: 'thirds' }, /layout must be halves or interleaved/],
    ['an alpha of another kind', { kind: 'gelu', alpha: 2 }, /alpha 2 needs the kind silu/],
  ])('%s', async (_, change, message) => {
    const tensors = new TensorFile(folder.path, 'refused.bin')
    const experts = [0, 1, 2]
    const family = (name: string, ...shape: number[]) =>
      experts.map((expert) => [tensors.random(`x${expert}.${name}`, ...shape)])
    const refused = runGraph({
      tensors,
      tokens: [1],
      change: (node) =>
        node.operator === 'Moe' ? { ...node, attributes: { ...node.attributes, ...change } } : node,
      build: (builder) => {
        const x = builder.embedding(tensors.random('table', 8, WIDTH))
        // So that the vectors of another length are loaded.
        const short = builder.embedding(tensors.random('narrow', 8, 7))
        for (const [weight] of family('short', 7)) {
          if (weight !== undefined) builder.layerNorm(short, weight, { epsilon: 1 })
        }
        return builder.moe(x, builder.linear(x, [tensors.random('router', 3, WIDTH)]), {
          router: { scoring: 'softmax', topK: 2, normalize: true },
          gateUp: { weights: family('up', 32, WIDTH) },
          down: { weights: family('down', WIDTH, 16) },
          unit: { kind: 'silu' },
        })
      },
    })
    await expect(refused).rejects.toMatchObject({
      code: 'NATIVE_BAD_GRAPH',
      message: expect.stringMatching(message),
    })
  })
})
