/** The nodes that the builder makes for each operator beyond the plain llama ones, and what it refuses. */

import { describe, expect, it } from 'vitest'
import type { TensorInfo } from '../../../src/checkpoint/checkpoint.ts'
import type { GraphNode, GraphValue } from '../../../src/graph/graph.ts'
import { GraphBuilder } from '../../../src/graph/graph-builder.ts'
import { lowerForCpu } from '../../../src/graph/lower-cpu.ts'
import type { MoeOptions } from '../../../src/graph/operator-options.ts'

function tensor(name: string, ...shape: number[]): TensorInfo {
  return { name, format: 'F32', shape, file: 'f', offset: 0, byteLength: 0 }
}

/** The one node between an embedding `[T, 12]` and the gathered rows, and its output's shape. It can be lowered. */
function nodeOf(build: (builder: GraphBuilder, x: GraphValue) => GraphValue): {
  node: Omit<GraphNode, 'outputs'>
  shape: readonly unknown[]
} {
  const builder = new GraphBuilder()
  const made = build(builder, builder.embedding(tensor('e', 10, 12)))
  const graph = builder.finish(builder.gatherRows(made), 64)
  expect(lowerForCpu(graph).onnx.length).toBeGreaterThan(0)
  const [, found] = graph.nodes
  if (found === undefined) throw new Error('no node')
  const { name, operator, inputs, attributes } = found
  return { node: { name, operator, inputs, attributes }, shape: made.shape }
}

const x = 'embedding.0.out'
const norm = { numHeads: 2, numKvHeads: 1, headDim: 3, epsilon: 1e-6 }

const experts = [0, 1, 2, 3]

function mixture(): MoeOptions {
  const family = (name: string, ...shape: number[]) =>
    experts.map((expert) => tensor(`l.3.x.${expert}.${name}`, ...shape))
  const [gate, up] = [family('gate', 6, 12), family('up', 6, 12)]
  return {
    router: {
      scoring: 'sigmoid',
      topK: 2,
      normalize: true,
      gainScale: 2.5,
      correction: tensor('c', 4),
      numGroups: 2,
    },
    gateUp: { weights: experts.map((i) => [gate[i], up[i]].filter((t) => t !== undefined)) },
    down: {
      weights: family('down', 12, 6).map((t) => [t]),
      biases: family('bias', 12).map((t) => [t]),
    },
    unit: { kind: 'silu', limit: 7 },
  }
}

describe('GraphBuilder makes', () => {
  it.each<
    [
      string,
      (builder: GraphBuilder, x: GraphValue) => GraphValue,
      Record<string, unknown>,
      readonly unknown[],
    ]
  >([
    [
      'LayerNorm',
      (b, x) => b.layerNorm(x, tensor('w', 12), { epsilon: 1e-5, bias: tensor('b', 12) }),
      { weight: 'w', epsilon: 1e-5, bias: 'b' },
      ['T', 12],
    ],
    [
      'QkNorm',
      (b, x) => b.qkNorm(x, { ...norm, query: tensor('q', 3), key: tensor('k', 3), scope: 'head' }),
      { ...norm, query: 'q', key: 'k', weightOffset: 0, scope: 'head' },
      ['T', 12],
    ],
    [
      'Scale',
      (b, x) => b.scale(x, { factor: 2, softcap: 30 }),
      { factor: 2, softcap: 30 },
      ['T', 12],
    ],
    ['Activation', (b, x) => b.activation(x, 'relu2'), { kind: 'relu2' }, ['T', 12]],
    [
      'GatedActivation',
      (b, x) => b.gatedActivation(x, { kind: 'gelu', layout: 'interleaved', limit: 7 }),
      { kind: 'gelu', layout: 'interleaved', limit: 7 },
      ['T', 6],
    ],
    [
      'GatedMlp',
      (b, x) =>
        b.gatedMlp(x, {
          gateUp: {
            weights: [tensor('g', 5, 12), tensor('u', 5, 12)],
            biases: [tensor('gb', 5), tensor('ub', 5)],
          },
          down: { weights: [tensor('d', 12, 5)], biases: [tensor('db', 12)] },
          unit: { kind: 'silu', limit: 7 },
        }),
      { gateUp: 'g+u', gateUpBias: 'gb+ub', down: 'd', downBias: 'db', kind: 'silu', limit: 7 },
      ['T', 12],
    ],
    [
      'GatedMlp',
      (b, x) =>
        b.gatedMlp(x, {
          gateUp: { weights: [tensor('gu', 12, 10)] },
          down: { weights: [tensor('d', 5, 12)] },
          unit: { kind: 'gelu' },
          layout: 'columns',
        }),
      { gateUp: 'gu^T', down: 'd^T', kind: 'gelu' },
      ['T', 12],
    ],
    [
      'SliceHeads',
      (b, x) => b.sliceHeads(x, { numHeads: 3, offset: 1, width: 2 }),
      { numHeads: 3, offset: 1, width: 2 },
      ['T', 6],
    ],
    [
      'Linear',
      (b, x) => b.linear(x, [tensor('c', 12, 7)], [tensor('cb', 7)], { layout: 'columns' }),
      { weight: 'c^T', bias: 'cb' },
      ['T', 7],
    ],
  ])('%s', (operator, build, attributes, shape) => {
    const made = nodeOf(build)
    expect(made.node).toMatchObject({ operator, inputs: [x], attributes })
    expect(made.node.attributes).toEqual(attributes)
    expect(made.shape).toEqual(shape)
  })

  it('a block-diagonal layer, whose weights are a family', () => {
    const heads = [0, 1, 2].map((head) => tensor(`kv.2[${head}].k`, 4, 5))
    const made = nodeOf((b, x) => b.headLinear(x, heads, { layout: 'columns' }))
    expect(made.node.attributes).toEqual({ weight: 'kv.2[{}].k^T', numHeads: 3 })
    expect(made.shape).toEqual(['T', 15])
  })

  it('a mixture of experts with all that a router may have', () => {
    const builder = new GraphBuilder()
    const value = builder.embedding(tensor('e', 10, 12))
    const logits = builder.linear(value, [tensor('r', 4, 12)])
    const out = builder.moe(value, logits, mixture())
    const { nodes, weights } = builder.finish(builder.gatherRows(out), 64)
    expect(nodes[2]).toEqual({
      name: 'moe.0',
      operator: 'Moe',
      inputs: [x, 'linear.0.out'],
      outputs: ['moe.0.out'],
      attributes: {
        numExperts: 4,
        topK: 2,
        scoring: 'sigmoid',
        normalize: 1,
        gainScale: 2.5,
        correction: 'c',
        numGroups: 2,
        topGroups: 1,
        gateUp: 'l.3.x.{}.gate+l.3.x.{}.up',
        down: 'l.3.x.{}.down',
        downBias: 'l.3.x.{}.bias',
        kind: 'silu',
        limit: 7,
      },
    })
    expect(weights.map(({ name }) => name)).toEqual([
      'e',
      'r',
      ...experts.map((i) => `l.3.x.${i}.gate+l.3.x.${i}.up`),
      ...experts.map((i) => `l.3.x.${i}.down`),
      ...experts.map((i) => `l.3.x.${i}.bias`),
      'c',
    ])
  })

  it('an embedding of positions, a scaled sum and joined heads', () => {
    const builder = new GraphBuilder()
    const tokens = builder.embedding(tensor('e', 10, 12))
    const positions = builder.embedding(tensor('p', 10, 12), { ids: 'positions', scale: 2 })
    const sum = builder.add(tokens, positions, { scale: 0.5 })
    const joined = builder.concatHeads([sum, tokens, positions], 4)
    const graph = builder.finish(builder.gatherRows(joined), 64)
    expect(graph.nodes.slice(1, 5)).toEqual([
      {
        name: 'embedding.1',
        operator: 'Embedding',
        inputs: ['positions'],
        outputs: ['embedding.1.out'],
        attributes: { weight: 'p', scale: 2 },
      },
      {
        name: 'add.0',
        operator: 'Add',
        inputs: [x, 'embedding.1.out'],
        outputs: ['add.0.out'],
        attributes: { scale: 0.5 },
      },
      {
        name: 'concat.0',
        operator: 'ConcatHeads',
        inputs: ['add.0.out', x],
        outputs: ['concat.0.out'],
        attributes: { numHeads: 4 },
      },
      {
        name: 'concat.1',
        operator: 'ConcatHeads',
        inputs: ['concat.0.out', 'embedding.1.out'],
        outputs: ['concat.1.out'],
        attributes: { numHeads: 4 },
      },
    ])
    expect(joined.shape).toEqual(['T', 36])
    expect(graph.inputs.map(({ name }) => name)).toEqual(['tokenIds', 'positions', 'logitsRows'])
  })

  it('one weight of a matrix in rows and another of it in columns', () => {
    const builder = new GraphBuilder()
    const value = builder.embedding(tensor('e', 10, 12))
    const square = tensor('s', 12, 12)
    const rows = builder.linear(value, [square])
    const columns = builder.linear(rows, [square], [], { layout: 'columns' })
    const { weights } = builder.finish(builder.gatherRows(columns), 64)
    expect(weights.slice(1)).toEqual([
      { name: 's', kind: 'linear', tensors: [square] },
      { name: 's^T', kind: 'linear', tensors: [square], layout: 'columns' },
    ])
  })
})

describe('GraphBuilder refuses', () => {
  it.each<[string, (builder: GraphBuilder, x: GraphValue) => GraphValue, string, string, string]>([
    [
      'a norm of another width',
      (b, x) => b.layerNorm(x, tensor('w', 9), { epsilon: 1 }),
      'w',
      '[12]',
      '[9]',
    ],
    [
      'a norm bias of another width',
      (b, x) => b.layerNorm(x, tensor('w', 12), { epsilon: 1, bias: tensor('b', 9) }),
      'b',
      '[12]',
      '[9]',
    ],
    [
      'q and k wider than qkv',
      (b, x) =>
        b.qkNorm(x, {
          ...norm,
          headDim: 5,
          query: tensor('q', 5),
          key: tensor('k', 5),
          scope: 'head',
        }),
      x,
      '[T, 15]',
      '[T, 12]',
    ],
    [
      'a weight of one head for all',
      (b, x) => b.qkNorm(x, { ...norm, query: tensor('q', 3), key: tensor('k', 3), scope: 'all' }),
      'q',
      '[6]',
      '[3]',
    ],
    [
      'a matrix in rows that is said to be in columns',
      (b, x) => b.linear(x, [tensor('r', 7, 12)], [], { layout: 'columns' }),
      'r',
      '[12, 12]',
      '[7, 12]',
    ],
    [
      'columns beyond their group',
      (b, x) => b.sliceHeads(x, { numHeads: 3, offset: 3, width: 2 }),
      x,
      '[T, 15]',
      '[T, 12]',
    ],
    [
      'a head of another width',
      (b, x) =>
        b.headLinear(
          x,
          [0, 1].map((head) => tensor(`h${head}`, 3, 5)),
        ),
      'h0',
      '[3, 6]',
      '[3, 5]',
    ],
    ['another number of router logits', (b, x) => b.moe(x, x, mixture()), x, '[T, 4]', '[T, 12]'],
    [
      'experts that give another width',
      (b, x) => {
        const down = { weights: experts.map((i) => [tensor(`d${i}`, 11, 6)]) }
        return b.moe(x, b.linear(x, [tensor('r', 4, 12)]), { ...mixture(), down })
      },
      'd0',
      '[12, 6]',
      '[11, 6]',
    ],
    [
      'a correction of another length',
      (b, x) => {
        const { router } = mixture()
        const corrected = { ...router, correction: tensor('c', 5) }
        return b.moe(x, b.linear(x, [tensor('r', 4, 12)]), { ...mixture(), router: corrected })
      },
      'c',
      '[4]',
      '[5]',
    ],
    [
      'heads that do not divide the width',
      (b, x) => b.concatHeads([x, x], 5),
      x,
      '[T, 15]',
      '[T, 12]',
    ],
  ])('%s', (_, build, what, expected, got) => {
    expect(() => nodeOf(build)).toThrow(
      expect.objectContaining({
        code: 'GRAPH_SHAPE_MISMATCH',
        details: expect.objectContaining({ what, expected, got }),
      }),
    )
  })
})
