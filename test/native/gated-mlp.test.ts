/** A gated MLP as one node: the bits of its three nodes, also while its weights are observed. */

import { afterAll, describe, expect, it } from 'vitest'
import type { NativeModel, NativeModelOptions } from '../../native/binding.ts'
import { seededRandom } from '../support/seeded-random.ts'
import {
  type TinyFormat,
  tinyNodes,
  tinyOnnx,
  VOCAB,
  writeTinyWeights,
} from '../support/tiny-llama.ts'
import {
  BLOCK_SIZE,
  binding,
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

async function ready(
  format: TinyFormat,
  fused: readonly number[],
  options: Partial<NativeModelOptions>,
): Promise<NativeModel> {
  const model = new (binding().Model)(tinyOptions(options))
  models.push(model)
  await model.loadWeights(writeTinyWeights(`${folder.path}/${format}.bin`, format))
  await model.createSession(tinyOnnx(tinyNodes(fused)))
  return model
}

function prompt(length: number): TinyRun {
  const random = seededRandom(length)
  const tokens = Array.from({ length }, () => random.below(VOCAB))
  const blocks = Array.from({ length: Math.ceil(length / BLOCK_SIZE) }, (_, block) => block + 1)
  return { tokens, start: 0, blocks }
}

describe.each([
  { format: 'F32', activations: 'f32' },
  { format: 'Q4_0', activations: 'f32' },
  { format: 'Q4_0', activations: 'int8' },
] as const)('$format weights, $activations activations', ({ format, activations }) => {
  it('gives the bits of the three nodes, with any number of rows and threads', async () => {
    const apart = await ready(format, [], { activations, threads: 1 })
    for (const threads of [1, 2, 3]) {
      const whole = await ready(format, [0, 1], { activations, threads })
      for (const length of [1, 5, 16, 47]) {
        const expected = await stepRuns(apart, [prompt(length)])
        expect(await stepRuns(whole, [prompt(length)])).toEqual(expected)
      }
    }
  })

  it('sums up the inputs of weights that are observed, and answers alike', async () => {
    const apart = await ready(format, [], { activations })
    const whole = await ready(format, [0, 1], { activations })
    const names = ['gateUp.0', 'down.1']
    for (const model of [apart, whole]) model.observe(names)
    const expected = await stepRuns(apart, [prompt(20)])
    expect(await stepRuns(whole, [prompt(20)])).toEqual(expected)
    const moments = (model: NativeModel) => names.map((name) => model.moments(name))
    expect(moments(whole)).toEqual(moments(apart))
    expect(moments(whole).map(({ length }) => length)).toEqual([64 ** 2, 96 ** 2])
    whole.observe([])
    expect(await stepRuns(whole, [prompt(20)])).toEqual(expected)
  })
})
