/** The reader on a real file: what it says of it, how long that takes, and mutations of its header. */

import { mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { digestFile } from '../../src/checkpoint/digest.ts'
import { estimateWeights } from '../../src/checkpoint/memory-estimate.ts'
import { openCheckpoint } from '../../src/checkpoint/open-checkpoint.ts'
import { heldBytes, mutate, openMutation } from '../support/gguf-mutations.ts'
import { modelPath } from '../support/model-path.ts'

const NUM_MUTATIONS = 300
const MODEL_BYTES = 98_362_432

let folder: string
let model: string

beforeAll(async () => {
  model = await modelPath()
  folder = await mkdtemp(join(tmpdir(), 'ingot-real-'))
})
afterAll(() => rm(folder, { recursive: true }))

describe('the default model', () => {
  it('is the file that the catalog pins', async () => {
    expect(await digestFile(model)).toMatch(/^b179c9523d0e6a0f/)
  })

  it('presents its vocabulary, its shape and its formats', async () => {
    const checkpoint = await openCheckpoint(model)
    const { metadata, tensors } = checkpoint
    expect(metadata.get('general.architecture')).toBe('llama')
    expect(metadata.get('tokenizer.ggml.tokens')).toHaveLength(49_152)
    expect(metadata.get('tokenizer.ggml.merges')).toHaveLength(48_900)
    expect(tensors.get('token_embd.weight')?.shape).toEqual([49_152, 576])
    const { numTensors, numParameters, formats } = estimateWeights(checkpoint)
    expect([numTensors, numParameters]).toEqual([272, 134_515_008])
    expect(formats.map(({ format, numTensors }) => [format, numTensors])).toEqual([
      ['Q4_1', 210],
      ['Q8_0', 1],
      ['F32', 61],
    ])
  })

  it('is opened in little time', async () => {
    const times: number[] = []
    for (let round = 0; round < 7; round++) {
      const start = performance.now()
      await openCheckpoint(model)
      times.push(performance.now() - start)
    }
    const median = times.sort((a, b) => a - b)[3] as number
    console.log(
      `header with 98,052 strings: median ${median.toFixed(1)} ms, best ${times[0]?.toFixed(1)} ms`,
    )
    // 60 ms is the aim on an idle machine; the best of seven is what a busy one can show.
    expect(times[0]).toBeLessThan(60)
  })

  it(`survives ${NUM_MUTATIONS} mutations of its first 64 KiB`, async () => {
    const head = Buffer.alloc(64 * 1024)
    const source = await open(model, 'r')
    await source.read(head, 0, head.length, 0)
    await source.close()
    const path = join(folder, 'mutated.gguf')
    const before = heldBytes()
    for (let seed = 1; seed <= NUM_MUTATIONS; seed++) {
      await writeFile(path, mutate(head, seed))
      // The file claims its real size again, so that mutations are met behind the size checks as well.
      const handle = await open(path, 'r+')
      await handle.truncate(MODEL_BYTES)
      await handle.close()
      await openMutation(path, MODEL_BYTES, seed)
    }
    expect(heldBytes() - before).toBeLessThan(128 * 1024 * 1024)
  })
})
