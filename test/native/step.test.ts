/**
 * Steps through the real session: the same bits whatever shares the step (D5), zero logits rows, errors that leave the
 * model usable, and arrays that are the native memory itself.
 */

import { afterAll, describe, expect, it } from 'vitest'
import type { NativeModel } from '../../native/binding.ts'
import { seededRandom } from '../support/seeded-random.ts'
import { type TinyFormat, VOCAB } from '../support/tiny-llama.ts'
import {
  BLOCK_SIZE,
  greedySpec,
  readyModel,
  scratchFolder,
  stepRuns,
  type TinyRun,
} from '../support/tiny-model.ts'

const folder = scratchFolder()
const models: NativeModel[] = []
afterAll(() => {
  for (const model of models) model.dispose()
  folder.remove()
})

async function ready(
  ...[format, changes]: [TinyFormat, Parameters<typeof readyModel>[2]?]
): Promise<NativeModel> {
  const model = await readyModel(folder.path, format, changes)
  models.push(model)
  return model
}

/** Prompts of many lengths, each with blocks of its own. */
function prompts(count: number): TinyRun[] {
  const random = seededRandom(7)
  let block = 1
  return Array.from({ length: count }, (_, index) => {
    const length = [1, 2, 15, 16, 17, 31, 5, 33][index % 8]!
    const blocks = Array.from({ length: Math.ceil((length + 1) / BLOCK_SIZE) }, () => block++)
    return { tokens: Array.from({ length }, () => random.below(VOCAB)), start: 0, blocks }
  })
}

const KINDS = [
  { format: 'F32', activations: 'f32', kvDtype: 'f32' },
  { format: 'Q4_0', activations: 'f32', kvDtype: 'bf16' },
  { format: 'Q4_0', activations: 'int8', kvDtype: 'f32' },
  { format: 'Q4_0', activations: 'int8', kvDtype: 'f16' },
  { format: 'Q4_0', activations: 'int8', kvDtype: 'int8' },
] as const

describe.each(KINDS)(
  '$format weights, $activations activations, $kvDtype KV',
  ({ format, ...kind }) => {
    it('gives a sequence the same bits alone and in a batch, with one thread and with two', async () => {
      const two = await ready(format, { ...kind, threads: 2 })
      const one = await ready(format, { ...kind, threads: 1 })
      const runs = prompts(16)
      const alone: Float32Array[] = []
      for (const run of runs) alone.push(...(await stepRuns(one, [run])))
      for (const size of [2, 3, 8, 16]) {
        expect(await stepRuns(two, runs.slice(0, size)), `batch of ${size}, 2 threads`).toEqual(
          alone.slice(0, size),
        )
        expect(await stepRuns(one, runs.slice(0, size)), `batch of ${size}, 1 thread`).toEqual(
          alone.slice(0, size),
        )
      }
      expect(new Set(alone.map((logits) => logits.join())).size).toBe(runs.length)
    })

    it('gives a prompt the same bits however it was cut, and each row the bits of its own step', async () => {
      const model = await ready(format, { ...kind })
      const [long] = prompts(8).slice(7)
      const { tokens, blocks } = long!
      const everyRow = tokens.map((_, index) => index)
      const whole = await stepRuns(model, [{ ...long!, logitsOf: everyRow }])
      for (const cut of [1, 5, 16, 17, 32]) {
        const rows: Float32Array[] = []
        for (let start = 0; start < tokens.length; start += cut) {
          const chunk = tokens.slice(start, start + cut)
          rows.push(
            ...(await stepRuns(model, [
              { tokens: chunk, start, blocks, logitsOf: chunk.map((_, i) => i) },
            ])),
          )
        }
        expect(rows, `chunks of ${cut}`).toEqual(whole)
      }
    })

    it('computes the KV of a chunk without logits', async () => {
      const model = await ready(format, { ...kind })
      const run = prompts(8)[7]!
      const whole = await stepRuns(model, [run])
      const head = { tokens: run.tokens.slice(0, 20), start: 0, blocks: run.blocks, logitsOf: [] }
      expect(await stepRuns(model, [head])).toEqual([])
      const tail = { tokens: run.tokens.slice(20), start: 20, blocks: run.blocks }
      expect(await stepRuns(model, [tail])).toEqual(whole)
    })
  },
)

describe('a step', () => {
  it('fails alone when a token id is unknown, and the next step gives the right bits', async () => {
    const model = await ready('F32')
    const run = prompts(3)[2]!
    const right = await stepRuns(model, [run])
    const wrong = { ...run, tokens: [...run.tokens.slice(0, -1), VOCAB] }
    await expect(stepRuns(model, [wrong])).rejects.toMatchObject({
      code: 'NATIVE_STEP_FAILED',
      message: expect.stringMatching(/node "embed" \(Embedding\).*96/s),
    })
    expect(await stepRuns(model, [run])).toEqual(right)
  })

  it.each([
    [
      'a slot beyond the pool',
      (model: NativeModel) => model.buffers.slotMapping.fill(1 << 20, 0, 1),
    ],
    [
      'a block id beyond the pool',
      (model: NativeModel) => model.buffers.blockTables.fill(1 << 20, 0, 1),
    ],
    ['a negative block id', (model: NativeModel) => model.buffers.blockTables.fill(-7, 0, 1)],
    [
      'a position beyond the block table',
      (model: NativeModel) => model.buffers.positions.fill(1 << 20, 0, 1),
    ],
    ['a negative position', (model: NativeModel) => model.buffers.positions.fill(-1, 0, 1)],
  ])('refuses %s and stays usable', async (_, damage) => {
    const model = await ready('F32')
    const run: TinyRun = { tokens: [3, 4], start: 0, blocks: [5] }
    const right = await stepRuns(model, [run])
    damage(model)
    await expect(model.step(2, 1, 1)).rejects.toMatchObject({ code: 'NATIVE_STEP_FAILED' })
    expect(await stepRuns(model, [run])).toEqual(right)
  })

  it.each([
    [
      'queryStarts that do not begin at 0',
      (model: NativeModel) => model.buffers.queryStarts.set([1, 2]),
    ],
    [
      'queryStarts that do not end at T',
      (model: NativeModel) => model.buffers.queryStarts.set([0, 1]),
    ],
    [
      'a context longer than its rows',
      (model: NativeModel) => model.buffers.contextLengths.set([3]),
    ],
    ['a last position below 0', (model: NativeModel) => model.buffers.positions.set([0, -1])],
    ['a logits row beyond T', (model: NativeModel) => model.buffers.logitsRows.set([2])],
    ['a negative logits row', (model: NativeModel) => model.buffers.logitsRows.set([-1])],
    [
      'a sampler slot that was never set',
      (model: NativeModel) => model.buffers.samplerSlots.set([3]),
    ],
    [
      'a sampler slot that does not exist',
      (model: NativeModel) => model.buffers.samplerSlots.set([99]),
    ],
    [
      'a target beyond the vocabulary',
      (model: NativeModel) => model.buffers.targetIds.set([VOCAB]),
    ],
    ['21 alternatives', (model: NativeModel) => model.buffers.topLogprobCounts.set([21])],
  ])('refuses %s', async (_, damage) => {
    const model = await ready('F32')
    await stepRuns(model, [{ tokens: [3, 4], start: 0, blocks: [5] }])
    damage(model)
    await expect(model.step(2, 1, 1)).rejects.toMatchObject({ code: 'NATIVE_BAD_STEP' })
  })

  it.each([
    [0, 1, 0],
    [257, 1, 1],
    [2, 3, 1],
    [2, 0, 1],
    [40, 17, 1],
    [2, 1, 3],
    [100, 1, 65],
    [1.5, 1, 1],
    [Number.NaN, 1, 1],
    [-1, 1, 1],
  ])('refuses counts beyond capacity: T=%s B=%s L=%s', async (tokens, seqs, rows) => {
    const model = await ready('F32')
    await expect(model.step(tokens, seqs, rows)).rejects.toMatchObject({ code: 'NATIVE_BAD_STEP' })
  })

  it('draws the most likely token, reports it, and leaves the raw logits in view', async () => {
    const model = await ready('F32')
    const { buffers } = model
    model.setSampler(2, greedySpec())
    const run = prompts(3)[2]!
    const [logits] = await stepRuns(model, [run])
    buffers.samplerSlots[0] = 2
    buffers.samplePositions[0] = run.tokens.length
    buffers.topLogprobCounts[0] = 3
    await model.step(run.tokens.length, 1, 1)
    const ranked = [...logits!.keys()].sort((a, b) => logits![b]! - logits![a]!)
    expect(buffers.logits.slice(0, VOCAB)).toEqual(logits)
    expect(buffers.sampledIds[0]).toBe(ranked[0])
    expect(buffers.sampledRanks[0]).toBe(1)
    expect([...buffers.topIds.slice(0, 3)]).toEqual(ranked.slice(0, 3))
    const sum = logits!.reduce((total, value) => total + Math.exp(value), 0)
    expect(buffers.sampledLogprobs[0]).toBeCloseTo(logits![ranked[0]!]! - Math.log(sum), 4)
  })
})
