/**
 * The last layer for the wanted rows only, against the same graph that gathers before its head: the same bits of every
 * logit and of the KV, whichever rows are wanted, and with adapters among them.
 */

import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import type { NativeModel, NativeModelOptions } from '../../native/binding.ts'
import { seededRandom } from '../support/seeded-random.ts'
import {
  HIDDEN,
  LAYERS,
  type TinyFormat,
  tinyNodes,
  tinyOnnx,
  VOCAB,
  writeTinyWeights,
} from '../support/tiny-llama.ts'
import {
  binding,
  scratchFolder,
  stepRuns,
  type TinyRun,
  tinyOptions,
} from '../support/tiny-model.ts'
import type { TinyNode } from '../support/tiny-onnx.ts'

const folder = scratchFolder()
const models: NativeModel[] = []
afterAll(() => {
  for (const model of models) model.dispose()
  folder.remove()
})

/** The tiny llama with its gather right behind the last attention. */
function gatheredEarly(): readonly TinyNode[] {
  const last = LAYERS - 1
  return tinyNodes().flatMap((node): TinyNode[] => {
    const { name, inputs } = node
    if (name === `attention.${last}`) {
      const residual = { inputs: [`x${last}`, 'logitsRows'], outputs: ['residual'] }
      const gather = { operator: 'GatherRows', name: 'gather', ...residual }
      return [{ ...node, inputs: [...inputs, 'logitsRows'] }, gather]
    }
    if (name === `norm2.${last}`) return [{ ...node, inputs: [`o${last}`, 'residual'] }]
    if (name === 'normOut') return [{ ...node, inputs: ['y'] }]
    return name === 'gather' ? [] : [node]
  })
}

/** An adapter in slot 1 that changes both layers, and another one in slot 2. */
function loadAdapters(model: NativeModel): void {
  for (const slot of [1, 2]) {
    const random = seededRandom(slot)
    const matrix = (rows: number, columns: number) => ({
      format: 'F32' as const,
      rows,
      bytes: new Uint8Array(
        Float32Array.from({ length: rows * columns }, () => random.next() - 0.5).buffer,
      ),
    })
    for (const weight of [...Array(LAYERS).keys()].flatMap((l) => [`qkv.${l}`, `o.${l}`])) {
      const inputs = weight.startsWith('o') ? 128 : HIDDEN
      const [down, up] = [matrix(4, inputs), matrix(64, 4)]
      model.stageAdapter(slot, { weight, firstOutput: 0, inputs, down, up, scale: 1 })
    }
    model.publishAdapter(slot)
  }
}

async function ready(
  nodes: readonly TinyNode[],
  format: TinyFormat,
  options: Partial<NativeModelOptions>,
): Promise<NativeModel> {
  const model = new (binding().Model)(tinyOptions(options))
  models.push(model)
  await model.loadWeights(writeTinyWeights(join(folder.path, `${format}.bin`), format))
  await model.createSession(tinyOnnx(nodes))
  loadAdapters(model)
  return model
}

const LENGTHS = [1, 33, 17, 2, 9]

/** Prompts of several lengths; `wanted` says which rows of each. */
function runs(start: number, wanted: (length: number, index: number) => number[]): TinyRun[] {
  const random = seededRandom(11 + start)
  return LENGTHS.map((length, index) => ({
    tokens: Array.from({ length }, () => random.below(VOCAB)),
    start: start * length,
    blocks: Array.from({ length: 5 }, (_, block) => 1 + 5 * index + block),
    adapter: [0, 1, 2, 0, 1][index]!,
    logitsOf: wanted(length, index),
  }))
}

const WANTED = {
  'no row': () => [],
  'the last row of each': (length: number) => [length - 1],
  'several rows of some': (length: number, index: number) =>
    index % 2 === 0 ? [] : [...Array(length).keys()].filter((row) => row % 3 !== 1),
  'all rows': (length: number) => [...Array(length).keys()],
}

describe.each([
  { format: 'F32', activations: 'f32', kvDtype: 'f32', threads: 1 },
  { format: 'F32', activations: 'f32', kvDtype: 'f16', threads: 2 },
  { format: 'Q4_0', activations: 'int8', kvDtype: 'bf16', threads: 2 },
  { format: 'Q4_0', activations: 'int8', kvDtype: 'int8', threads: 2 },
] as const)('$format weights, $kvDtype KV, threads: $threads', ({ format, ...options }) => {
  it('has the bits of a graph that gathers last, now and in the steps that follow', async () => {
    const late = await ready(tinyNodes(), format, options)
    const early = await ready(gatheredEarly(), format, options)
    for (const wanted of Object.values(WANTED)) {
      const first = runs(0, wanted)
      expect(await stepRuns(early, first)).toEqual(await stepRuns(late, first))
      // Sees the KV of rows that were not wanted.
      const second = runs(1, WANTED['all rows'])
      expect(await stepRuns(early, second)).toEqual(await stepRuns(late, second))
    }
  })
})

it('refuses rows that do not ascend within the step, and goes on', async () => {
  const model = await ready(gatheredEarly(), 'F32', {})
  const run = runs(0, () => [])[1]!
  const refused = { code: 'NATIVE_BAD_STEP', message: expect.stringContaining('logitsRows') }
  for (const logitsOf of [[3, 2], [-1], [33]]) {
    await expect(stepRuns(model, [{ ...run, logitsOf }])).rejects.toMatchObject(refused)
  }
  expect(await stepRuns(model, [{ ...run, logitsOf: [2, 3] }])).toHaveLength(2)
})
