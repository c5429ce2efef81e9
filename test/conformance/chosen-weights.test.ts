/**
 * A choice of weights is what the kernels compute with, and nothing else changes: a model written as f32, bf16 or f16 on
 * load answers bit for bit as the folder that stores it so, and int8 stays close to f32. The sizes that were planned are
 * those that are held.
 */

import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SOURCE_WEIGHTS, type WeightsChoice } from '../../src/base/weights-choice.ts'
import { readModelFacts } from '../../src/deployment/model-facts.ts'
import { PLAIN_SCHEDULING } from '../../src/engine/scheduling-options.ts'
import type { EngineOptions } from '../../src/worker/messages.ts'
import { makeSpec } from '../support/engine-builders.ts'
import { runSequences, withEngine } from '../support/run-engine.ts'
import { encodeSafetensors, f32, writeModelFolder } from '../support/safetensors-writer.ts'
import { seededRandom } from '../support/seeded-random.ts'
import { TINY_CONFIG, tinyLlamaFolder } from '../support/tiny-llama-folder.ts'

const ADDON = new URL('../../native/ingot.node', import.meta.url)
/** Rows of whole blocks of 32, unlike the tiny llama's own. */
const CONFIG = { hidden_size: 64, intermediate_size: 96 }
const wider = (extent: number) => (extent === 48 ? 64 : extent === 80 ? 96 : extent)
const PROMPT = [1, 5, 9, 13, 17, 21, 25]

describe.skipIf(!existsSync(ADDON))('chosen weights (skipped when the addon is not built)', () => {
  let root: string
  let folder: string
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'ingot-weights-'))
    folder = join(root, 'f32')
    const random = seededRandom(12)
    const tensors = [...tinyLlamaFolder().tensors].map(([name, tensor]) => {
      const shape = tensor.shape.map(wider)
      const length = shape.reduce((product, extent) => product * extent, 1)
      const value = () => (shape.length === 1 ? 1 : (random.below(2001) - 1000) / 7000)
      return [name, { dtype: 'F32', shape, data: f32(Array.from({ length }, value)) }] as const
    })
    await writeModelFolder(folder, {
      'config.json': { ...TINY_CONFIG, ...CONFIG },
      'model.safetensors': encodeSafetensors(Object.fromEntries(tensors)),
    })
  })
  afterAll(() => rm(root, { recursive: true }))

  const options = (weights: Partial<WeightsChoice>): EngineOptions => ({
    checkpointPath: folder,
    weights: { ...SOURCE_WEIGHTS, ...weights },
    threads: 2,
    activations: 'f32',
    kvDtype: 'f32',
    kvMemoryBytes: 1 << 20,
    blockSize: 16,
    maxNumBatchedTokens: 64,
    maxNumSeqs: 4,
    maxContextTokens: 128,
    eosTokenIds: [],
    scheduling: PLAIN_SCHEDULING,
  })

  async function answer(weights: Partial<WeightsChoice>) {
    return withEngine(options(weights), async (engine) => {
      const spec = makeSpec(1, { promptIds: PROMPT, maxTokens: 12, temperature: 0, topLogprobs: 5 })
      const { answers } = await runSequences(engine, [spec])
      const { tokenIds, logprobs } = answers.get(spec.id)!
      return { tokenIds, logprobs, bytes: engine.description.weightsBytes }
    })
  }

  it('f32 of an f32 folder is the folder itself', async () => {
    expect(await answer({ format: 'f32' })).toEqual(await answer({}))
  })

  it('holds as many bytes as were planned, in every format', async () => {
    const facts = await readModelFacts(folder)
    const formats = ['source', 'f32', 'bf16', 'f16', 'int8', 'int4'] as const
    const planned = formats.map(
      (format) => facts.planWeights({ ...SOURCE_WEIGHTS, format }).packedBytes,
    )
    const held = []
    for (const format of formats) held.push((await answer({ format })).bytes)
    expect(held).toEqual(planned)
    expect(held[2]).toBeLessThan(held[1]!)
    expect(held[5]).toBeLessThan(held[4]!)
  })

  it.each([
    ['bf16', 0.02],
    ['f16', 0.003],
    ['int8', 0.02],
    ['int4', 0.3],
  ] as const)('%s gives logprobs near those of f32', async (format, most) => {
    const exact = await answer({})
    const rounded = await answer({ format })
    const of = ({ logprobs }: Awaited<ReturnType<typeof answer>>) => logprobs[0]!.logprob
    const error = Math.abs(of(exact) - of(rounded))
    expect(error).toBeGreaterThan(0)
    expect(error).toBeLessThan(most)
  })

  it('changes only the tensors of an override', async () => {
    const pattern = 'model.layers.0.mlp.*'
    const all = await answer({ overrides: [{ pattern, format: 'f32' }] })
    expect(all).toEqual(await answer({}))
    const some = await answer({ overrides: [{ pattern, format: 'int4' }] })
    expect(some.bytes).toBeLessThan(all.bytes)
    expect(some.logprobs).not.toEqual(all.logprobs)
  })
})
