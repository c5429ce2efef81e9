/**
 * How a folder stores its weights does not change an answer: the same values as F32, BF16 or F16, in one file or in
 * shards, give the same tokens and the same bits of every logprob. The values are exact in all three formats.
 */

import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { PLAIN_SCHEDULING } from '../../src/engine/scheduling-options.ts'
import type { EngineOptions } from '../../src/worker/messages.ts'
import { makeSpec } from '../support/engine-builders.ts'
import { runSequences, withEngine } from '../support/run-engine.ts'
import { encodeSafetensors, f32, writeModelFolder } from '../support/safetensors-writer.ts'
import { seededRandom } from '../support/seeded-random.ts'
import { TINY_CONFIG, tinyLlamaFolder } from '../support/tiny-llama-folder.ts'

const ADDON = new URL('../../native/ingot.node', import.meta.url)
type Format = 'F32' | 'BF16' | 'F16'

/** Multiples of 1/64 up to 1 have at most seven significant bits: exact in every format. */
const encoders: Readonly<Record<Format, (values: readonly number[]) => Buffer>> = {
  F32: f32,
  BF16: (values) => halves(values, (bits) => bits >>> 16),
  // Sign, exponent with a bias of 15 instead of 127, ten bits of fraction; all values are normal numbers or zero.
  F16: (values) =>
    halves(values, (bits) => {
      const sign = (bits >>> 16) & 0x8000
      return (bits & 0x7fff_ffff) === 0
        ? sign
        : sign | (((bits & 0x7fff_ffff) - 0x3800_0000) >>> 13)
    }),
}

function halves(values: readonly number[], shorten: (bits: number) => number): Buffer {
  const long = f32(values)
  const bytes = Buffer.alloc(2 * values.length)
  for (let i = 0; i < values.length; i++)
    bytes.writeUInt16LE(shorten(long.readUInt32LE(4 * i)), 2 * i)
  return bytes
}

/** Tensors of the tiny llama by name, the same values for every format. */
function tensorsAs(format: Format) {
  const random = seededRandom(11)
  return [...tinyLlamaFolder().tensors].map(([name, { shape }]) => {
    const length = shape.reduce((product, extent) => product * extent, 1)
    const value = () => (shape.length === 1 ? 1 : (random.below(41) - 20) / 64)
    const data = encoders[format](Array.from({ length }, value))
    return [name, { dtype: format, shape, data }] as const
  })
}

describe.skipIf(!existsSync(ADDON))('stored formats (skipped when the addon is not built)', () => {
  let root: string
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'ingot-formats-'))
  })
  afterAll(() => rm(root, { recursive: true }))

  async function answersOf(name: string, files: Readonly<Record<string, Buffer | object>>) {
    const folder = join(root, name)
    await writeModelFolder(folder, { 'config.json': TINY_CONFIG, ...files })
    const options: EngineOptions = {
      checkpointPath: folder,
      threads: 1,
      activations: 'f32',
      kvDtype: 'f32',
      kvMemoryBytes: 2 ** 20,
      blockSize: 16,
      maxNumBatchedTokens: 16,
      maxNumSeqs: 4,
      maxContextTokens: 64,
      eosTokenIds: [],
      scheduling: PLAIN_SCHEDULING,
    }
    const specs = [3, 20, 33].map((length, index) => {
      const promptIds = Array.from({ length }, (_, at) => (7 * at + index) % 96)
      const wanted = { topLogprobs: 5, promptLogprobs: 2, temperature: 0, maxTokens: 12 }
      return makeSpec(index + 1, { promptIds, ...wanted })
    })
    return withEngine(options, async (engine) => (await runSequences(engine, specs)).answers)
  }

  function single(format: Format) {
    return { 'model.safetensors': encodeSafetensors(Object.fromEntries(tensorsAs(format))) }
  }

  /** Every third tensor in a shard of its own format. */
  function shards() {
    const formats: readonly Format[] = ['F32', 'BF16', 'F16']
    const weightMap: Record<string, string> = {}
    const files: Record<string, Buffer | object> = {}
    for (const [part, format] of formats.entries()) {
      const shard = `model-0000${part + 1}-of-00003.safetensors`
      const tensors = tensorsAs(format).filter((_, index) => index % 3 === part)
      for (const [name] of tensors) weightMap[name] = shard
      files[shard] = encodeSafetensors(Object.fromEntries(tensors))
    }
    files['model.safetensors.index.json'] = { metadata: {}, weight_map: weightMap }
    return files
  }

  it('answer alike, in one file and mixed over shards', async () => {
    const expected = await answersOf('f32', single('F32'))
    const texts = new Set([...expected.values()].map(({ tokenIds }) => tokenIds.join()))
    expect(texts.size).toBe(3)
    expect(await answersOf('bf16', single('BF16'))).toStrictEqual(expected)
    expect(await answersOf('f16', single('F16'))).toStrictEqual(expected)
    // Also where q, k and v, which are computed as one matrix, are stored in three formats.
    expect(await answersOf('shards', shards())).toStrictEqual(expected)
  })
})
