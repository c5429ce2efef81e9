import { describe, expect, it } from 'vitest'
import { encodeModel } from '../../../src/graph/onnx/model-proto.ts'
import { ProtobufWriter } from '../../../src/graph/onnx/protobuf-writer.ts'
import { messages, readProtobuf, texts } from '../../support/read-protobuf.ts'

describe('ProtobufWriter', () => {
  it('writes the examples of the encoding guide', () => {
    expect([...new ProtobufWriter().integer(1, 150).finish()]).toEqual([0x08, 0x96, 0x01])
    expect([...new ProtobufWriter().text(2, 'testing').finish()]).toEqual([
      0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67,
    ])
    const nested = new ProtobufWriter().message(3, (inner) => inner.integer(1, 150)).finish()
    expect([...nested]).toEqual([0x1a, 0x03, 0x08, 0x96, 0x01])
  })

  it.each([0, 1, 127, 128, 16_383, 16_384, 2 ** 31, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER])(
    'round-trips the integer %d',
    (value) => {
      const bytes = new ProtobufWriter().integer(20, value).finish()
      expect(readProtobuf(bytes)).toEqual([{ field: 20, integer: value }])
    },
  )

  it.each([-1, 0.5, Number.NaN, 2 ** 53])('refuses %d as an integer', (value) => {
    expect(() => new ProtobufWriter().integer(1, value)).toThrow('I1')
  })

  it('grows past its first buffer and keeps the order of fields', () => {
    const long = 'ü'.repeat(5_000)
    const fields = readProtobuf(
      new ProtobufWriter().text(1, long).float(2, 0.1).text(1, '').finish(),
    )
    expect(fields.map(({ field }) => field)).toEqual([1, 2, 1])
    expect(texts(fields, 1)).toEqual([long, ''])
    expect(fields[1]?.float).toBe(Math.fround(0.1))
  })
})

describe('encodeModel', () => {
  const bytes = encodeModel({
    producer: 'ingot',
    graphName: 'step',
    opsets: [{ domain: 'ingot', version: 1 }],
    inputs: [{ name: 'blockTables', elementType: 'i32', shape: ['B', 7] }],
    outputs: [{ name: 'logits', elementType: 'f32', shape: ['L', 320] }],
    nodes: [
      {
        name: 'n',
        operator: 'Op',
        domain: 'ingot',
        inputs: ['blockTables', 'a'],
        outputs: ['logits'],
        attributes: [
          { name: 'layer', kind: 'integer', value: 0 },
          { name: 'scale', kind: 'float', value: 1 },
          { name: 'weight', kind: 'text', value: 'w' },
        ],
      },
    ],
  })
  const model = readProtobuf(bytes)
  const graph = messages(model, 7)[0]!

  it('says the IR version, the producer and the operator set', () => {
    expect(model.find(({ field }) => field === 1)?.integer).toBe(10)
    expect(texts(model, 2)).toEqual(['ingot'])
    const opset = messages(model, 8)[0]!
    expect([texts(opset, 1), opset[1]?.integer]).toEqual([['ingot'], 1])
  })

  it('writes nodes with attributes of the type that was meant, also for 0 and 1', () => {
    const node = messages(graph, 1)[0]!
    expect([
      texts(node, 1),
      texts(node, 2),
      texts(node, 3),
      texts(node, 4),
      texts(node, 7),
    ]).toEqual([['blockTables', 'a'], ['logits'], ['n'], ['Op'], ['ingot']])
    const [layer, scale, weight] = messages(node, 5)
    expect(layer?.slice(1)).toEqual([
      { field: 3, integer: 0 },
      { field: 20, integer: 2 },
    ])
    expect(scale?.slice(1)).toEqual([
      { field: 2, float: 1 },
      { field: 20, integer: 1 },
    ])
    expect([texts(weight!, 4), weight?.[2]?.integer]).toEqual([['w'], 3])
  })

  it('writes shapes with fixed and named dimensions', () => {
    const shapeOf = (field: number) => {
      const type = messages(messages(graph, field)[0]!, 2)[0]!
      const tensor = messages(type, 1)[0]!
      const dimensions = messages(messages(tensor, 2)[0]!, 1)
      return [tensor[0]?.integer, ...dimensions.map((d) => d[0]?.integer ?? texts(d, 2)[0])]
    }
    expect(shapeOf(11)).toEqual([6, 'B', 7])
    expect(shapeOf(12)).toEqual([1, 'L', 320])
  })
})
