import { describe, expect, it } from 'vitest'
import type { TensorInfo } from '../../../src/checkpoint/checkpoint.ts'
import type { Graph } from '../../../src/graph/graph.ts'
import { GraphBuilder } from '../../../src/graph/graph-builder.ts'
import { lowerForCpu } from '../../../src/graph/lower-cpu.ts'
import { messages, readProtobuf, texts } from '../../support/read-protobuf.ts'

function tensor(name: string, ...shape: number[]): TensorInfo {
  return { name, format: 'F32', shape, file: 'f', offset: 0, byteLength: 0 }
}

const frequencies = Float32Array.of(1, 0.5)
const attention = { numHeads: 2, numKvHeads: 1, headDim: 4, scale: 0.5 }

/** One layer: embedding 10 × 8, qkv of three parts. */
function smallGraph(): Graph {
  const builder = new GraphBuilder()
  const x = builder.embedding(tensor('e', 10, 8))
  const normed = builder.rmsNorm(x, tensor('n', 8), { epsilon: 1e-5 })
  const parts = [tensor('q', 8, 8), tensor('k', 4, 8), tensor('v', 4, 8)]
  const biases = [tensor('qb', 8), tensor('kb', 4), tensor('vb', 4)]
  const qkv = builder.linear(normed, parts, biases)
  const rope = { style: 'interleaved', frequencies } as const
  const attended = builder.pagedAttention(qkv, { ...attention, rope })
  const next = builder.addRmsNorm(attended, x, tensor('m', 8), { epsilon: 1e-5 })
  const again = builder.pagedAttention(builder.linear(next.normed, parts, biases), {
    ...attention,
    rope,
  })
  const sum = builder.add(again, next.sum)
  const logits = builder.linear(builder.gatherRows(sum), [tensor('e', 10, 8)])
  return builder.finish(logits, 64)
}

describe('GraphBuilder', () => {
  it('gives unique names and ends in logits of the wanted rows', () => {
    const graph = smallGraph()
    expect(graph.nodes.map(({ name }) => name)).toEqual([
      'embedding.0',
      'norm.0',
      'linear.0',
      'attention.0',
      'add_norm.0',
      'linear.1',
      'attention.1',
      'add.0',
      'gather.0',
      'linear.2',
    ])
    expect(graph.outputs).toEqual([{ name: 'logits', dtype: 'f32', shape: ['L', 10] }])
    expect(graph.nodes.at(-1)?.outputs).toEqual(['logits'])
    expect([graph.vocabSize, graph.maxContextTokens]).toEqual([10, 64])
  })

  it('makes every input before it is read', () => {
    const graph = smallGraph()
    const made = new Set(graph.inputs.map(({ name }) => name))
    for (const node of graph.nodes) {
      for (const input of node.inputs) expect(made).toContain(input)
      for (const output of node.outputs) made.add(output)
    }
  })

  it('keeps equal tensors as one weight, joined parts in order, and one rope table', () => {
    const names = smallGraph().weights.map(({ name, kind }) => `${kind} ${name}`)
    expect(names).toEqual([
      'linear e',
      'vector n',
      'linear q+k+v',
      'vector qb+kb+vb',
      'constant rope.frequencies.0',
      'vector m',
    ])
  })

  it('numbers the KV layers in the order of the attention nodes', () => {
    const graph = smallGraph()
    const layers = graph.nodes.filter(({ operator }) => operator === 'PagedAttention')
    expect(layers.map(({ attributes }) => attributes.layer)).toEqual([0, 1])
    expect(graph.kvLayers).toEqual([
      { numKvHeads: 1, headDim: 4 },
      { numKvHeads: 1, headDim: 4 },
    ])
  })

  it('says what attention takes beyond heads, and the width of its values', () => {
    const builder = new GraphBuilder()
    const x = builder.embedding(tensor('e', 10, 14))
    const options = {
      ...attention,
      valueDim: 2,
      rope: { style: 'interleaved', frequencies: Float32Array.of(1), offset: 2 },
      window: 128,
      softcap: 50,
      sinks: tensor('s', 2),
    } as const
    const attended = builder.pagedAttention(x, options)
    expect(attended.shape).toEqual(['T', 4])
    const wrong = { ...options, sinks: tensor('s3', 3) }
    expect(() => builder.pagedAttention(x, wrong)).toThrow('expected s3 of shape [2], got [3]')
    const graph = builder.finish(
      builder.linear(builder.gatherRows(attended), [tensor('h', 10, 4)]),
      64,
    )
    expect(graph.kvLayers).toEqual([{ numKvHeads: 1, headDim: 4, valueDim: 2 }])
    expect(graph.nodes[1]?.attributes).toEqual({
      layer: 0,
      numHeads: 2,
      numKvHeads: 1,
      headDim: 4,
      valueDim: 2,
      scale: 0.5,
      ropeStyle: 'interleaved',
      ropeFrequencies: 'rope.frequencies.0',
      ropeScale: 1,
      ropeOffset: 2,
      window: 128,
      softcap: 50,
      sinks: 's',
    })
    expect(() => lowerForCpu(graph)).not.toThrow()
  })

  it('leaves out step inputs that no node reads', () => {
    const builder = new GraphBuilder()
    const x = builder.embedding(tensor('e', 10, 8))
    const graph = builder.finish(builder.linear(builder.gatherRows(x), [tensor('h', 10, 8)]), 64)
    expect(graph.inputs.map(({ name }) => name)).toEqual(['tokenIds', 'logitsRows'])
  })

  it('refuses a matrix, vector, bias or width that does not fit, with both shapes', () => {
    const builder = new GraphBuilder()
    const x = builder.embedding(tensor('e', 10, 8))
    const mismatch = (expected: string, got: string, what: string) =>
      expect.objectContaining({
        code: 'GRAPH_SHAPE_MISMATCH',
        details: expect.objectContaining({ expected, got, what }),
      })
    expect(() => builder.linear(x, [tensor('w', 4, 9)])).toThrow(mismatch('[4, 8]', '[4, 9]', 'w'))
    expect(() => builder.linear(x, [tensor('w', 8)])).toThrow(mismatch('[8, 8]', '[8]', 'w'))
    expect(() => builder.rmsNorm(x, tensor('n', 7), { epsilon: 1 })).toThrow(
      mismatch('[8]', '[7]', 'n'),
    )
    expect(() => builder.linear(x, [tensor('w', 4, 8)], [tensor('b', 3)])).toThrow(
      mismatch('[4]', '[3]', 'b'),
    )
    expect(() => builder.pagedAttention(x, { ...attention, rope: null })).toThrow(
      mismatch('[T, 16]', '[T, 8]', 'embedding.0.out'),
    )
    const odd = builder.linear(x, [tensor('o', 5, 8)])
    expect(() => builder.gatedActivation(odd, { kind: 'silu' })).toThrow(
      mismatch('[T, 4]', '[T, 5]', 'linear.3.out'),
    )
    expect(() => builder.add(x, odd)).toThrow(mismatch('[T, 8]', '[T, 5]', 'linear.3.out'))
    expect(() => builder.embedding(tensor('e1', 10))).toThrow(mismatch('[n, k]', '[10]', 'e1'))
  })

  it('refuses to add rows of the step to gathered rows', () => {
    const builder = new GraphBuilder()
    const x = builder.embedding(tensor('e', 10, 8))
    expect(() => builder.add(x, builder.gatherRows(x))).toThrow('expected gather.0.out')
  })
})

describe('lowerForCpu', () => {
  it('gives each node the domain and typed attributes of the native operators', () => {
    const graph = smallGraph()
    const { onnx, weights, kvLayers } = lowerForCpu(graph)
    const nodes = messages(messages(readProtobuf(onnx), 7)[0]!, 1)
    expect(nodes.map((node) => texts(node, 4)[0])).toEqual(graph.nodes.map((n) => n.operator))
    expect(new Set(nodes.map((node) => texts(node, 7)[0]))).toEqual(new Set(['ingot']))
    const kinds = messages(nodes[3]!, 5).map((attribute) => [
      texts(attribute, 1)[0],
      attribute.at(-1)?.integer,
    ])
    expect(kinds).toEqual([
      ['layer', 2],
      ['numHeads', 2],
      ['numKvHeads', 2],
      ['headDim', 2],
      ['scale', 1],
      ['ropeStyle', 3],
      ['ropeFrequencies', 3],
      ['ropeScale', 1],
    ])
    expect(weights).toBe(graph.weights)
    expect(kvLayers).toBe(graph.kvLayers)
  })

  it('refuses an operator, an attribute or a type that the CPU does not have', () => {
    const graph = smallGraph()
    const withNode = (change: object): Graph => ({
      ...graph,
      nodes: [{ ...graph.nodes[0]!, ...change }],
    })
    const refused = (got: string) =>
      expect.objectContaining({
        code: 'GRAPH_NOT_LOWERABLE',
        details: expect.objectContaining({ node: 'embedding.0', provider: 'cpu', got }),
      })
    expect(() => lowerForCpu(withNode({ operator: 'Conv' }))).toThrow(refused('Conv'))
    expect(() => lowerForCpu(withNode({ attributes: { window: 4 } }))).toThrow(
      refused('window = 4'),
    )
    expect(() => lowerForCpu(withNode({ attributes: { weight: 4 } }))).toThrow(
      refused('weight = 4'),
    )
    const half = { operator: 'PagedAttention', attributes: { layer: 0.5 } }
    expect(() => lowerForCpu(withNode(half))).toThrow(refused('layer = 0.5'))
  })
})
