/** Every method of a model × {fresh, session made, step running, disposed}. Source of the idea: better-sqlite3's test 42. */

import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { NativeModel, NativeModelOptions, NativeWeight } from '../../native/binding.ts'
import { tinyOnnx, writeTinyWeights } from '../support/tiny-llama.ts'
import {
  binding,
  greedySpec,
  readyModel,
  scratchFolder,
  stepRuns,
  tinyOptions,
} from '../support/tiny-model.ts'

const folder = scratchFolder()
let weights: NativeWeight[]
const onnx = tinyOnnx()
beforeAll(() => {
  weights = writeTinyWeights(join(folder.path, 'weights.bin'), 'F32')
})
afterAll(folder.remove)

const RUN = { tokens: [1, 2, 3], start: 0, blocks: [1] }
type State = 'fresh' | 'session made' | 'step running' | 'disposed'

/** A model in a state, and what must be awaited before the test ends. */
async function modelIn(state: State): Promise<{ model: NativeModel; settled: Promise<unknown> }> {
  if (state === 'fresh')
    return { model: new (binding().Model)(tinyOptions()), settled: Promise.resolve() }
  const model = await readyModel(folder.path, 'F32')
  await stepRuns(model, [RUN])
  if (state === 'session made') return { model, settled: Promise.resolve() }
  if (state === 'step running') return { model, settled: model.step(3, 1, 1) }
  model.dispose()
  return { model, settled: Promise.resolve() }
}

/** Of what needs a model, and no step under way. */
const BETWEEN_STEPS: Record<State, string> = {
  fresh: 'ok',
  'session made': 'ok',
  'step running': 'NATIVE_BUSY',
  disposed: 'NATIVE_DISPOSED',
}
/** Two layers of two heads of 32, K and V, f32, of 16 tokens. */
const BLOCK_BYTES = 16 * 2 * 2 * 32 * 2 * 4

const METHODS: Record<
  string,
  { call: (model: NativeModel) => unknown; outcomes: Record<State, string> }
> = {
  loadWeights: {
    call: (model) =>
      model.loadWeights(weights.map((weight) => ({ ...weight, name: `again.${weight.name}` }))),
    outcomes: {
      fresh: 'ok',
      'session made': 'NATIVE_STATE',
      'step running': 'NATIVE_BUSY',
      disposed: 'NATIVE_DISPOSED',
    },
  },
  createSession: {
    call: (model) => model.createSession(onnx),
    outcomes: {
      fresh: 'NATIVE_BAD_GRAPH',
      'session made': 'NATIVE_STATE',
      'step running': 'NATIVE_BUSY',
      disposed: 'NATIVE_DISPOSED',
    },
  },
  step: {
    call: (model) => model.step(3, 1, 1),
    outcomes: {
      fresh: 'NATIVE_STATE',
      'session made': 'ok',
      'step running': 'NATIVE_BUSY',
      disposed: 'NATIVE_DISPOSED',
    },
  },
  setSampler: {
    call: (model) => model.setSampler(0, greedySpec()),
    outcomes: {
      fresh: 'ok',
      'session made': 'ok',
      'step running': 'NATIVE_BUSY',
      disposed: 'NATIVE_DISPOSED',
    },
  },
  clearSampler: {
    call: (model) => model.clearSampler(0),
    outcomes: {
      fresh: 'ok',
      'session made': 'ok',
      'step running': 'NATIVE_BUSY',
      disposed: 'NATIVE_DISPOSED',
    },
  },
  memory: {
    call: (model) => model.memory(),
    outcomes: {
      fresh: 'ok',
      'session made': 'ok',
      'step running': 'ok',
      disposed: 'NATIVE_DISPOSED',
    },
  },
  kvBlockBytes: {
    call: (model) => model.kvBlockBytes(),
    outcomes: BETWEEN_STEPS,
  },
  copyBlocks: {
    call: (model) => model.copyBlocks(Int32Array.of(1, 2)),
    outcomes: BETWEEN_STEPS,
  },
  readBlock: {
    call: (model) => model.readBlock(1, new Uint8Array(BLOCK_BYTES)),
    outcomes: BETWEEN_STEPS,
  },
  writeBlock: {
    call: (model) => model.writeBlock(1, new Uint8Array(BLOCK_BYTES)),
    outcomes: BETWEEN_STEPS,
  },
  dispose: {
    call: (model) => model.dispose(),
    outcomes: { fresh: 'ok', 'session made': 'ok', 'step running': 'ok', disposed: 'ok' },
  },
  buffers: {
    call: (model) => model.buffers.tokenIds.fill(1),
    outcomes: { fresh: 'ok', 'session made': 'ok', 'step running': 'ok', disposed: 'ok' },
  },
}

describe.each(Object.entries(METHODS))('%s', (_, { call, outcomes }) => {
  it.each(Object.entries(outcomes) as [State, string][])('%s: %s', async (state, outcome) => {
    const { model, settled } = await modelIn(state)
    let got = 'ok'
    try {
      await call(model)
    } catch (error) {
      got = (error as { code: string }).code
    }
    expect(got).toBe(outcome)
    await settled
    model.dispose()
  })
})

describe('dispose', () => {
  it('waits for the step under way, whose promise then resolves', async () => {
    const { model, settled } = await modelIn('step running')
    model.dispose()
    await expect(settled).resolves.toBeUndefined()
  })

  it('leaves the views that JavaScript kept readable and writable', async () => {
    const { model } = await modelIn('session made')
    const { tokenIds, logits } = model.buffers
    const before = logits[0]
    model.dispose()
    tokenIds[0] = 42
    expect([tokenIds[0], logits[0]]).toEqual([42, before])
  })
})

describe('the arrays', () => {
  it('are one native memory: the same objects each time, each of its own', () => {
    const model = new (binding().Model)(tinyOptions())
    expect(model.buffers).toBe(model.buffers)
    const arrays = Object.values(model.buffers) as (Int32Array | Float32Array)[]
    expect(new Set(arrays.map((array) => array.buffer)).size).toBe(arrays.length)
    expect(model.memory().buffersBytes).toBe(
      arrays.reduce((sum, array) => sum + array.byteLength, 0),
    )
    model.dispose()
  })

  it('cannot be replaced', () => {
    const model = new (binding().Model)(tinyOptions())
    expect(() => Object.assign(model, { buffers: {} })).toThrow(TypeError)
    model.dispose()
  })
})

describe('options', () => {
  it.each<[string, Partial<Record<keyof NativeModelOptions, unknown>>]>([
    ['blockSize', { blockSize: 24 }],
    ['threads', { threads: 0 }],
    ['threads', { threads: 1.5 }],
    ['numBlocks', { numBlocks: 0 }],
    ['numBlocks', { numBlocks: 2 ** 31 }],
    ['maxNumSeqs', { maxNumSeqs: -1 }],
    ['maxLogitsRows', { maxLogitsRows: 2 ** 31 - 1, vocabSize: 2 ** 31 - 1 }],
    ['vocabSize', { vocabSize: Number.NaN }],
    ['activations', { activations: 'fp8' }],
    ['kvDtype', { kvDtype: 'int4' }],
    ['headDim', { kvLayers: [{ numKvHeads: 1, headDim: -4 }] }],
  ])('refuse a wrong %s by name: %o', (name, changes) => {
    const options = { ...tinyOptions(), ...changes } as NativeModelOptions
    let caught: unknown
    try {
      ;new (binding().Model)(options)
    } catch (error) {
      caught = error
    }
    expect(caught).toMatchObject({ message: expect.stringContaining(name) })
    expect((caught as { code: string }).code).toMatch(/^NATIVE_(BAD_OPTION|OUT_OF_MEMORY)$/)
  })

  it('refuse a second libonnxruntime, and one that is not there', () => {
    const { Model } = binding()
    new Model(tinyOptions()).dispose()
    expect(() => new Model(tinyOptions({ ortLibrary: process.execPath }))).toThrow(
      expect.objectContaining({ code: 'NATIVE_ORT_LIBRARY' }),
    )
    expect(() => new Model(tinyOptions({ ortLibrary: '/nowhere/libonnxruntime.so' }))).toThrow(
      /npm ci/,
    )
  })
})
