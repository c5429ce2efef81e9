/**
 * A quantized folder answers as the same folder with its weights written out as F32: with f32 activations the same tokens
 * and the same bits of every logprob, with int8 activations nearly so, through the integer kernels.
 */

import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { PLAIN_SCHEDULING } from '../../src/engine/scheduling-options.ts'
import type { EngineOptions } from '../../src/worker/messages.ts'
import { makeSpec } from '../support/engine-builders.ts'
import { QUANTIZATION_CASES } from '../support/quantization-cases.ts'
import { quantizedFolder } from '../support/quantized-folder.ts'
import { type Answer, runSequences, withEngine } from '../support/run-engine.ts'
import { writeModelFolder } from '../support/safetensors-writer.ts'

const ADDON = new URL('../../native/ingot.node', import.meta.url)

/** Largest difference of the logprobs of the prompts' tokens, which both have been given alike. */
function furthest(got: Answers, expected: Answers): number {
  let most = 0
  for (const [id, { promptLogprobs }] of expected) {
    for (const [at, { logprob }] of promptLogprobs.entries()) {
      const other = got.get(id)?.promptLogprobs[at]?.logprob ?? Number.NaN
      most = Math.max(most, Math.abs(other - logprob))
    }
  }
  return most
}

type Answers = ReadonlyMap<unknown, Answer>

describe.skipIf(!existsSync(ADDON))('quantized folders (skipped without the addon)', () => {
  let root: string
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'ingot-quantized-'))
  })
  afterAll(() => rm(root, { recursive: true }))

  async function answersOf(
    name: string,
    files: Readonly<Record<string, Buffer | object>>,
    activations: 'f32' | 'int8',
  ) {
    const folder = join(root, name)
    await writeModelFolder(folder, files)
    const options: EngineOptions = {
      checkpointPath: folder,
      threads: 1,
      activations,
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
      const wanted = { topLogprobs: 5, promptLogprobs: 2, temperature: 0, maxTokens: 6 }
      return makeSpec(index + 1, { promptIds, ...wanted })
    })
    return withEngine(options, async (engine) => (await runSequences(engine, specs)).answers)
  }

  it.each(QUANTIZATION_CASES)('$name', async ({ config, write }) => {
    const { quantized, dense } = quantizedFolder(config, write)
    const [got, expected] = [
      await answersOf('quantized', quantized, 'f32'),
      await answersOf('dense', dense, 'f32'),
    ]
    expect(got).toStrictEqual(expected)
    // What rounding activations to int8 costs, of logits that are some units wide.
    expect(furthest(await answersOf('quantized', quantized, 'int8'), expected)).toBeLessThan(0.35)
  })
})
