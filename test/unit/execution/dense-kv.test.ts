import { describe, expect, it } from 'vitest'
import { InvariantError } from '../../../src/base/errors.ts'
import { DenseKv, type DenseKvShape } from '../../../src/execution/exported/dense-kv.ts'
import { widenHalves } from '../../../src/execution/exported/half-floats.ts'

const SHAPE: DenseKvShape = {
  numTensors: 4,
  numKvHeads: 3,
  headDim: 2,
  type: 'F32',
  isShared: false,
  maxTokens: 700,
  growTokens: 64,
}

/** What is stored for a token says which tensor, head, token and place it is of. */
function storedValue(tensor: number, head: number, token: number, place: number): number {
  return 1e6 * tensor + 1e5 * head + 10 * token + place
}

/** Does what a graph does: the past is copied, new rows are written behind it. */
function runGraph(kv: DenseKv, shape: DenseKvShape, start: number, end: number): void {
  kv.prepare(start, end)
  for (let tensor = 0; tensor < shape.numTensors; tensor++) {
    const past = kv.past(tensor)
    const present = kv.present(tensor)
    const [, , pastTokens, width] = past.dims
    const [, , presentTokens] = present.dims
    if (shape.isShared) expect(present.data).toBe(past.data)
    else expect([pastTokens, presentTokens]).toEqual([start, end])
    for (let head = 0; head < shape.numKvHeads; head++) {
      for (let token = 0; token < end; token++) {
        for (let place = 0; place < width; place++) {
          const to = (head * presentTokens + token) * width + place
          const from = (head * pastTokens + token) * width + place
          present.data[to] =
            token < start ? past.data[from]! : storedValue(tensor, head, token, place)
        }
      }
    }
  }
  kv.commit()
}

function expectStored(kv: DenseKv, shape: DenseKvShape, numTokens: number): void {
  expect(kv.numTokens).toBe(numTokens)
  const stored: number[] = []
  const expected: number[] = []
  for (let tensor = 0; tensor < shape.numTensors; tensor++) {
    const { data, dims } = kv.past(tensor)
    for (let head = 0; head < shape.numKvHeads; head++) {
      for (let token = 0; token < numTokens; token++) {
        stored.push(data[(head * dims[2] + token) * dims[3]]!)
        expected.push(storedValue(tensor, head, token, 0))
      }
    }
  }
  expect(stored).toEqual(expected)
}

describe.each([false, true])('dense keys and values, shared buffer %s', (isShared) => {
  const shape = { ...SHAPE, isShared }

  it('hold every token through growing past several sizes of buffer', () => {
    const kv = new DenseKv(shape)
    let numTokens = 0
    for (const length of [200, 1, 55, 1, 1, 300, 1, 141]) {
      runGraph(kv, shape, numTokens, numTokens + length)
      numTokens += length
      expectStored(kv, shape, numTokens)
    }
    expect(numTokens).toBe(700)
  })

  it('go back to any token and on from there', () => {
    const kv = new DenseKv(shape)
    runGraph(kv, shape, 0, 9)
    for (const start of [4, 0, 3]) {
      runGraph(kv, shape, start, start + 6)
      expectStored(kv, shape, start + 6)
    }
  })

  it('are never left with a gap, nor filled beyond the context', () => {
    const kv = new DenseKv(shape)
    runGraph(kv, shape, 0, 3)
    expect(() => kv.prepare(4, 5)).toThrow(InvariantError)
    expect(() => kv.prepare(3, 701)).toThrow(InvariantError)
  })
})

it('half floats are exactly the numbers that they stand for', () => {
  const bits = Uint16Array.of(0, 0x8000, 0x3c00, 0xc000, 0x3555, 1, 0x0400, 0x7bff, 0x7c00, 0xfc00)
  const wide = new Float32Array(bits.length)
  widenHalves(bits, wide)
  expect([...wide]).toEqual([
    0,
    -0,
    1,
    -2,
    0.333251953125,
    2 ** -24,
    2 ** -14,
    65_504,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
  ])
  widenHalves(Uint16Array.of(0x7e00), wide)
  expect(wide[0]).toBeNaN()
})
