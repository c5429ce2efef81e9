/** Whole KV blocks through the addon: a sequence whose blocks were moved goes on with the bits of one that stayed. */

import { afterAll, describe, expect, it } from 'vitest'
import type { KvDtype, NativeModel } from '../../native/binding.ts'
import { BLOCK_SIZE, readyModel, scratchFolder, stepRuns } from '../support/tiny-model.ts'

const folder = scratchFolder()
afterAll(folder.remove)

const PROMPT = Array.from({ length: BLOCK_SIZE + 5 }, (_, index) => (index * 7 + 3) % 90)
const NEXT = { tokens: [11], start: PROMPT.length }

/** The logits of a token behind the prompt, whose KV lies in blocks 1 and 2. */
async function prefilled(kvDtype: KvDtype): Promise<{ model: NativeModel; stayed: Float32Array }> {
  const model = await readyModel(folder.path, 'F32', { kvDtype })
  await stepRuns(model, [{ tokens: PROMPT, start: 0, blocks: [1, 2] }])
  const [stayed] = await stepRuns(model, [{ ...NEXT, blocks: [1, 2] }])
  return { model, stayed: stayed! }
}

describe.each(['f32', 'f16', 'bf16', 'int8'] as const)('%s blocks', (kvDtype) => {
  it('that were copied, the last one partly filled, are read as the ones they are copies of', async () => {
    const { model, stayed } = await prefilled(kvDtype)
    model.copyBlocks(Int32Array.of(1, 30, 2, 31))
    await stepRuns(model, [{ tokens: [5, 6, 7], start: 0, blocks: [1] }])
    expect(await stepRuns(model, [{ ...NEXT, blocks: [30, 31] }])).toEqual([stayed])
    model.dispose()
  })

  it('that went out and came back elsewhere, also to another model, are the same', async () => {
    const { model, stayed } = await prefilled(kvDtype)
    const outside = [1, 2].map((id) => {
      const bytes = new Uint8Array(model.kvBlockBytes())
      model.readBlock(id, bytes)
      return bytes
    })
    const other = await readyModel(folder.path, 'F32', { kvDtype, threads: 1, numBlocks: 8 })
    for (const one of [model, other]) {
      for (const [index, bytes] of outside.entries()) one.writeBlock(5 + index, bytes)
      expect(await stepRuns(one, [{ ...NEXT, blocks: [5, 6] }])).toEqual([stayed])
      one.dispose()
    }
  })
})

it('blocks that do not exist, and arrays of another size, are refused', async () => {
  const model = await readyModel(folder.path, 'F32')
  const bytes = new Uint8Array(model.kvBlockBytes())
  // Two layers of two heads of 32, K and V, f32.
  expect(bytes.length).toBe(BLOCK_SIZE * 2 * 2 * 32 * 2 * 4)
  const refused = expect.objectContaining({ code: 'NATIVE_BAD_BLOCK' })
  expect(() => model.copyBlocks(Int32Array.of(0, 64))).toThrow(refused)
  expect(() => model.copyBlocks(Int32Array.of(0, 1, 2))).toThrow(refused)
  expect(() => model.readBlock(-1, bytes)).toThrow(refused)
  expect(() => model.readBlock(1.5, bytes)).toThrow(refused)
  expect(() => model.readBlock(0, bytes.subarray(1))).toThrow(refused)
  expect(() => model.writeBlock(64, bytes)).toThrow(refused)
  expect(() => model.writeBlock(0, new Uint8Array(0))).toThrow(refused)
  model.dispose()
})
