/** Graphs that do not fit: each is refused when the session is made, naming the node and what is wrong with it. */

import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { NativeModel, NativeWeight } from '../../native/binding.ts'
import { seededRandom } from '../support/seeded-random.ts'
import {
  TINY_INPUTS,
  TINY_OUTPUTS,
  tinyNodes,
  tinyOnnx,
  writeTinyWeights,
} from '../support/tiny-llama.ts'
import { binding, scratchFolder, stepRuns, tinyOptions } from '../support/tiny-model.ts'
import { encodeOnnx, type TinyAttribute, type TinyNode } from '../support/tiny-onnx.ts'

const folder = scratchFolder()
let weights: NativeWeight[]
beforeAll(() => {
  weights = writeTinyWeights(join(folder.path, 'weights.bin'), 'F32')
})
afterAll(folder.remove)

async function loadedModel(): Promise<NativeModel> {
  const model = new (binding().Model)(tinyOptions())
  await model.loadWeights(weights)
  return model
}

async function refusal(onnx: Uint8Array): Promise<{ code: string; message: string }> {
  const model = await loadedModel()
  try {
    await model.createSession(onnx)
  } catch (error) {
    // The same model still takes the right graph.
    await model.createSession(tinyOnnx())
    await stepRuns(model, [{ tokens: [1], start: 0, blocks: [1] }])
    return error as { code: string; message: string }
  } finally {
    model.dispose()
  }
  throw new Error('the graph was accepted')
}

function changed(name: string, change: Partial<TinyNode>): Uint8Array {
  return tinyOnnx(tinyNodes().map((node) => (node.name === name ? { ...node, ...change } : node)))
}

function withAttributes(
  name: string,
  attributes: Record<string, TinyAttribute | undefined>,
): Uint8Array {
  const node = tinyNodes().find((node) => node.name === name)!
  const merged = Object.entries({ ...node.attributes, ...attributes })
  const kept = merged.filter((entry): entry is [string, TinyAttribute] => entry[1] !== undefined)
  return changed(name, { attributes: Object.fromEntries(kept) })
}

describe('createSession refuses', () => {
  it.each<[string, string, Record<string, TinyAttribute | undefined>, RegExp]>([
    [
      'an unknown attribute',
      'norm1.0',
      { gamma: { float: 1 } },
      /attribute gamma is unknown; it takes weight, epsilon/,
    ],
    [
      'an attribute of an operator that takes none',
      'gather',
      { alpha: { float: 1 } },
      /alpha is unknown; it takes none/,
    ],
    ['a missing attribute', 'norm1.0', { epsilon: undefined }, /attribute epsilon is missing/],
    [
      'an attribute of another type',
      'norm1.0',
      { epsilon: { int: 1 } },
      /epsilon must be of type Float/,
    ],
    [
      'an optional attribute of another type',
      'embed',
      { scale: { text: 'x' } },
      /scale must be of type Float/,
    ],
    [
      'an epsilon that is not finite',
      'norm1.0',
      { epsilon: { float: Number.NaN } },
      /epsilon must be finite/,
    ],
    ['an unknown weight', 'o.0', { weight: { text: 'nowhere' } }, /weight "nowhere" is not loaded/],
    [
      'a vector where a matrix belongs',
      'o.0',
      { weight: { text: 'norm1.0' } },
      /is a vector, not a matrix/,
    ],
    [
      'a matrix where a vector belongs',
      'norm1.0',
      { weight: { text: 'embed' } },
      /is a matrix, not a vector/,
    ],
    [
      'a weight of another width',
      'o.0',
      { weight: { text: 'down.0' } },
      /128 wide, but weight "down.0" needs 96/,
    ],
    [
      'a bias of another length',
      'o.0',
      { bias: { text: 'qkvBias.0' } },
      /bias "qkvBias.0" has 256 numbers/,
    ],
    [
      'a gated MLP whose matrices disagree',
      'mlp.1',
      { down: { text: 'o.1' } },
      /gateUp "gateUp.1" is \[192, 64\], but down "o.1" is \[64, 128\]/,
    ],
    [
      'a gated MLP with a bias of another length',
      'mlp.1',
      { gateUpBias: { text: 'norm1.0' } },
      /bias "norm1.0" has 64 numbers, but weight "gateUp.1" has 192 rows/,
    ],
    ['a gated MLP of an unknown kind', 'mlp.1', { kind: { text: 'tan' } }, /kind must be/],
    ['a layer without KV', 'attention.0', { layer: { int: 2 } }, /layer 2 has no KV/],
    ['a negative layer', 'attention.0', { layer: { int: -1 } }, /layer must be 0 to/],
    [
      'heads that disagree with the KV',
      'attention.0',
      { numKvHeads: { int: 4 } },
      /KV of layer 0 has \(2, 32, 32\)/,
    ],
    [
      'heads that cannot be shared out',
      'attention.0',
      { numHeads: { int: 3 } },
      /multiple of numKvHeads/,
    ],
    ['heads that overflow', 'attention.0', { numHeads: { int: 2 ** 40 } }, /numHeads must be 1 to/],
    [
      'heads that disagree with the input',
      'attention.0',
      { numHeads: { int: 8 } },
      /256 wide, but .* needs 384/,
    ],
    [
      'an unknown rope style',
      'attention.0',
      { ropeStyle: { text: 'spiral' } },
      /ropeStyle must be none, half or interleaved/,
    ],
    [
      'values of another width than the KV',
      'attention.0',
      { valueDim: { int: 16 } },
      /are \(2, 32, 16\), but the KV of layer 0 has/,
    ],
    [
      'sinks that are not one a head',
      'attention.0',
      { sinks: { text: 'norm1.0' } },
      /sinks "norm1.0" are 64 numbers, but there are 4 heads/,
    ],
    [
      'a negative soft cap',
      'attention.0',
      { softcap: { float: -1 } },
      /softcap must be 0 or more, got -1/,
    ],
    ['a scale of 0', 'attention.0', { scale: { float: 0 } }, /scale must be more than 0, got 0/],
    ['a negative window', 'attention.0', { window: { int: -1 } }, /window must be 0 to/],
    [
      'a rotation beyond the head',
      'attention.0',
      { ropeOffset: { int: 2 } },
      /rotates 32 numbers from 2 on, but headDim is 32/,
    ],
    [
      'a rope without frequencies',
      'attention.0',
      { ropeFrequencies: undefined },
      /ropeFrequencies is missing/,
    ],
    [
      'a rope wider than a head',
      'attention.0',
      { ropeFrequencies: { text: 'normOut' } },
      /rotates 128 numbers from 0 on, but headDim is 32/,
    ],
    [
      'frequencies without a rope',
      'attention.0',
      { ropeStyle: { text: 'none' } },
      /needs a ropeStyle/,
    ],
  ])('%s', async (_, name, attributes, message) => {
    const error = await refusal(withAttributes(name, attributes))
    expect(error.code).toBe('NATIVE_BAD_GRAPH')
    expect(error.message).toMatch(message)
    expect(error.message).toContain(`node "${name}"`)
  })

  it.each<[string, Uint8Array, RegExp]>([
    ['an unknown operator', changed('o.0', { operator: 'Conv' }), /no such operator/],
    ['an operator of another domain', changed('add', { domain: '' }), /domain must be ingot/],
    ['a value that nobody makes', changed('o.0', { inputs: ['nothing'] }), /nothing/],
    ['too many inputs', changed('add', { inputs: ['d1', 'h1', 'h1'] }), /cannot build/],
    [
      'half a model',
      changed('gated.0', { inputs: ['g0'] }).slice(0, 100),
      /not a serialized ONNX model/,
    ],
    ['nothing', new Uint8Array(), /no nodes/],
    ['something else', Buffer.from('{"graph": []}'), /not a serialized ONNX model/],
    [
      'another input',
      encodeOnnx({
        nodes: tinyNodes(),
        inputs: [...TINY_INPUTS, { name: 'mask', dtype: 'i32', shape: ['T'] }],
        outputs: TINY_OUTPUTS,
      }),
      /"mask"/,
    ],
    [
      'an input of another type',
      encodeOnnx({
        nodes: tinyNodes(),
        inputs: TINY_INPUTS.map((input) =>
          input.name === 'logitsRows' ? { ...input, dtype: 'f32' as const } : input,
        ),
        outputs: TINY_OUTPUTS,
      }),
      /logitsRows|gather/,
    ],
    [
      'another output',
      encodeOnnx({
        nodes: tinyNodes(),
        inputs: TINY_INPUTS,
        outputs: [...TINY_OUTPUTS, { name: 'y', dtype: 'f32', shape: ['T', 64] }],
      }),
      /one output/,
    ],
  ])('%s', async (_, onnx, message) => {
    const error = await refusal(onnx)
    expect(error.code).toBe('NATIVE_BAD_GRAPH')
    expect(error.message).toMatch(message)
  })

  it('logits of another width than the vocabulary', async () => {
    const model = new (binding().Model)(tinyOptions({ vocabSize: 95 }))
    await model.loadWeights(weights)
    await expect(model.createSession(tinyOnnx())).rejects.toMatchObject({
      code: 'NATIVE_BAD_GRAPH',
      message: expect.stringMatching(/output must be logits f32 \[L, 95\]/),
    })
    model.dispose()
  })

  it('300 damaged models without a crash', async () => {
    const random = seededRandom(11)
    const model = await loadedModel()
    const right = tinyOnnx()
    for (let round = 0; round < 300; round++) {
      const damaged = Uint8Array.from(right)
      for (let flips = 0; flips <= round % 4; flips++)
        damaged[random.below(damaged.length)] = random.below(256)
      // A flip may leave a working graph behind; then a fresh model goes on.
      const outcome = await model.createSession(damaged).then(
        () => 'accepted',
        (error: { code: string }) => error.code,
      )
      if (outcome === 'accepted') break
      expect(outcome, `round ${round}`).toMatch(/^NATIVE_(BAD_GRAPH|PANIC)$/)
    }
    model.dispose()
  })
})
