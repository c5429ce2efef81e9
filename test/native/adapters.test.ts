/**
 * Adapters in the real session: what a row gets is what merged weights would give it, whatever shares its step, and rows
 * without an adapter keep every bit.
 */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import type { NativeAdapterDelta, NativeModel } from '../../native/binding.ts'
import { seededRandom } from '../support/seeded-random.ts'
import { HIDDEN, tinyOnnx, VOCAB, writeTinyWeights } from '../support/tiny-llama.ts'
import {
  BLOCK_SIZE,
  binding,
  readyModel,
  scratchFolder,
  stepRuns,
  type TinyRun,
  tinyOptions,
} from '../support/tiny-model.ts'

const folder = scratchFolder()
const models: NativeModel[] = []
afterAll(() => {
  for (const model of models) model.dispose()
  folder.remove()
})

async function ready(...args: [...Parameters<typeof readyModel>] | []): Promise<NativeModel> {
  const [, format = 'F32', changes = {}] = args
  const model = await readyModel(folder.path, format, changes)
  models.push(model)
  return model
}

interface Matrices {
  readonly weight: string
  readonly firstOutput: number
  readonly inputs: number
  readonly down: Float32Array // [rank, inputs]
  readonly up: Float32Array // [outputs, rank]
  readonly scale: number
}

function matrices(
  seed: number,
  rank: number,
  place: { weight: string; firstOutput: number; inputs: number; outputs: number },
): Matrices {
  const random = seededRandom(seed)
  const values = (length: number) =>
    Float32Array.from({ length }, () => 0.4 * (random.next() - 0.5))
  const { weight, firstOutput, inputs, outputs } = place
  const down = values(rank * inputs)
  return { weight, firstOutput, inputs, down, up: values(outputs * rank), scale: 1.5 }
}

/** q and v of the first layer, up and down of the second. */
function adapter(seed: number, rank: number): Matrices[] {
  return [
    matrices(seed, rank, { weight: 'qkv.0', firstOutput: 0, inputs: HIDDEN, outputs: 128 }),
    matrices(seed + 1, rank, { weight: 'qkv.0', firstOutput: 192, inputs: HIDDEN, outputs: 64 }),
    matrices(seed + 2, rank, { weight: 'down.1', firstOutput: 0, inputs: 96, outputs: HIDDEN }),
    matrices(seed + 3, rank, { weight: 'gateUp.1', firstOutput: 96, inputs: HIDDEN, outputs: 96 }),
  ]
}

function delta({ down, up, inputs, ...rest }: Matrices): NativeAdapterDelta {
  const matrix = (values: Float32Array, width: number) => ({
    format: 'F32' as const,
    rows: values.length / width,
    bytes: new Uint8Array(values.buffer),
  })
  return { ...rest, inputs, down: matrix(down, inputs), up: matrix(up, down.length / inputs) }
}

function load(model: NativeModel, slot: number, all: readonly Matrices[]): void {
  for (const one of all) model.stageAdapter(slot, delta(one))
  model.publishAdapter(slot)
}

/** The tiny llama with the adapter's products added to its F32 weights. */
async function merged(all: readonly Matrices[]): Promise<NativeModel> {
  const file = join(folder.path, 'merged.bin')
  const weights = writeTinyWeights(file, 'F32')
  const bytes = readFileSync(file)
  for (const { weight, firstOutput, inputs, down, up, scale } of all) {
    const { offset } = weights.find(({ name }) => name === weight)!.parts![0]!
    const rank = down.length / inputs
    for (let output = 0; output < up.length / rank; output++) {
      for (let input = 0; input < inputs; input++) {
        const at = offset + 4 * ((firstOutput + output) * inputs + input)
        let sum = 0
        for (let j = 0; j < rank; j++) sum += up[output * rank + j]! * down[j * inputs + input]!
        bytes.writeFloatLE(bytes.readFloatLE(at) + scale * sum, at)
      }
    }
  }
  writeFileSync(file, bytes)
  const model = new (binding().Model)(tinyOptions())
  models.push(model)
  await model.loadWeights(weights)
  await model.createSession(tinyOnnx())
  return model
}

/** Prompts with blocks of their own, answered by these slots. */
function runs(adapters: readonly number[]): TinyRun[] {
  const random = seededRandom(7)
  let block = 1
  return adapters.map((slot, index) => {
    const length = [1, 17, 9, 33, 2, 16][index % 6]!
    const blocks = Array.from({ length: Math.ceil((length + 1) / BLOCK_SIZE) }, () => block++)
    const tokens = Array.from({ length }, () => random.below(VOCAB))
    return { tokens, start: 0, blocks, adapter: slot }
  })
}

const without = (run: TinyRun): TinyRun => ({ ...run, adapter: 0 })

it('gives a row what merged weights would give it', async () => {
  const model = await ready()
  const one = adapter(31, 8)
  load(model, 1, one)
  const reference = await merged(one)
  for (const run of runs([1, 1, 1, 1])) {
    const [got] = await stepRuns(model, [run])
    const [expected] = await stepRuns(reference, [without(run)])
    const worst = Math.max(...got!.map((value, at) => Math.abs(value - expected![at]!)))
    expect(worst).toBeLessThan(1e-4)
    const [base] = await stepRuns(model, [without(run)])
    expect(Math.max(...got!.map((value, at) => Math.abs(value - base![at]!)))).toBeGreaterThan(0.01)
  }
})

describe.each([
  { format: 'F32', activations: 'f32' },
  { format: 'Q4_0', activations: 'int8' },
] as const)('$format weights, $activations activations', ({ format, activations }) => {
  it('rows of several adapters and of none have the same bits alone, together and with any threads', async () => {
    const one = await ready(folder.path, format, { activations, threads: 1 })
    const two = await ready(folder.path, format, { activations, threads: 2 })
    const plain = await ready(folder.path, format, { activations })
    for (const model of [one, two]) {
      load(model, 1, adapter(31, 8))
      load(model, 5, adapter(51, 3))
    }
    const all = runs([0, 1, 5, 0, 1, 5, 5, 0, 1])
    const alone: Float32Array[] = []
    for (const run of all) {
      const model = run.adapter === 0 ? plain : one
      alone.push(...(await stepRuns(model, [run])))
    }
    expect(await stepRuns(two, all)).toEqual(alone)
    expect(await stepRuns(one, all)).toEqual(alone)
    expect(await stepRuns(two, [...all].reverse())).toEqual([...alone].reverse())
    // Each prompt again in two pieces, beside one another.
    const cut = all.map((run) => ({ ...run, tokens: run.tokens.slice(0, -1) }))
    await stepRuns(
      two,
      cut.filter(({ tokens }) => tokens.length > 0),
    )
    const rest = all.map((run) => {
      const start = run.tokens.length - 1
      return { ...run, start, tokens: run.tokens.slice(start) }
    })
    expect(await stepRuns(two, rest)).toEqual(alone)
  })
})

it('follows the order of outputs that a delta gives', async () => {
  const model = await ready()
  const [q] = adapter(31, 8)
  const order = Int32Array.from({ length: 128 }, (_, index) => 127 - index)
  const up = q!.up.slice()
  for (let row = 0; row < 128; row++) {
    up.set(q!.up.subarray((127 - row) * 8, (128 - row) * 8), row * 8)
  }
  load(model, 1, [q!])
  model.stageAdapter(2, { ...delta({ ...q!, up }), outputOrder: order })
  model.publishAdapter(2)
  const [run] = runs([1, 1]).slice(1)
  const [straight] = await stepRuns(model, [run!])
  expect(await stepRuns(model, [{ ...run!, adapter: 2 }])).toEqual([straight])
})

it('an adapter is there for steps from its publication to its removal, and its memory with it', async () => {
  const model = await ready()
  const [run] = runs([3])
  const refused = { code: 'NATIVE_BAD_STEP', message: expect.stringContaining('adapter 3') }
  await expect(stepRuns(model, [run!])).rejects.toMatchObject(refused)
  for (const one of adapter(31, 4)) model.stageAdapter(3, delta(one))
  await expect(stepRuns(model, [run!])).rejects.toMatchObject(refused)
  model.publishAdapter(3)
  const first = await stepRuns(model, [run!])
  expect(model.memory().adaptersBytes).toBeGreaterThan(0)
  // Changed while a step is under way: that step keeps what it began with.
  const step = stepRuns(model, [run!])
  model.removeAdapter(3)
  load(model, 3, adapter(91, 4))
  expect(await step).toEqual(first)
  expect(await stepRuns(model, [run!])).not.toEqual(first)
  model.removeAdapter(3)
  expect(model.memory().adaptersBytes).toBe(0)
  await expect(stepRuns(model, [run!])).rejects.toMatchObject(refused)
  expect(await stepRuns(model, [without(run!)])).toHaveLength(1)
})

it('refuses what fits no node, naming what is wrong', async () => {
  const model = await ready()
  const [q] = adapter(31, 4)
  const fit = delta(q!)
  const stage = (change: Partial<NativeAdapterDelta>, slot = 1) => {
    try {
      model.stageAdapter(slot, { ...fit, ...change })
      return 'taken'
    } catch (error) {
      return `${(error as { code: string }).code}: ${(error as Error).message}`
    }
  }
  const bytes = (numbers: number) => new Uint8Array(new Float32Array(numbers).buffer)
  expect(stage({ weight: 'norm1.0' })).toMatch(/^NATIVE_BAD_WEIGHT: no node adds deltas/)
  expect(stage({ firstOutput: 129 })).toMatch(/^NATIVE_BAD_WEIGHT: .*256 outputs.*129 to 257/)
  expect(stage({ inputs: 32, down: { ...fit.down, bytes: bytes(4 * 32) } })).toMatch(/64 inputs/)
  expect(stage({ down: { ...fit.down, bytes: bytes(3) } })).toMatch(/^NATIVE_BAD_WEIGHT: adapter/)
  expect(stage({ scale: Number.NaN })).toMatch(/infinite or not a number/)
  expect(stage({ down: { ...fit.down, format: 'Q4_0' as 'F32' } })).toMatch(/F32, F16 or BF16/)
  expect(stage({ outputOrder: Int32Array.of(-1) })).toMatch(/each output of the delta once/)
  expect(stage({}, 0)).toMatch(/number them from 1/)
  expect(() => model.publishAdapter(1)).toThrow(/nothing is staged/)
  expect(stage({})).toBe('taken')
  model.publishAdapter(1)
  expect(stage({})).toMatch(/^NATIVE_STATE: adapter 1 is published/)
})
