/**
 * A draft model in a real engine: two tiny llamas with random weights through the native executor. Answers are those of
 * an engine without, bit for bit; a model that guesses for itself is right nearly always, drawn by chance or not.
 */

import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Executor } from '../../src/engine/executor.ts'
import { PLAIN_SCHEDULING } from '../../src/engine/scheduling-options.ts'
import { loadEngine } from '../../src/worker/load-engine.ts'
import type { EngineOptions } from '../../src/worker/messages.ts'
import { EngineClock, makeSpec } from '../support/engine-builders.ts'
import { ADDON } from '../support/executor-cases.ts'
import { writeGguf } from '../support/gguf-writer.ts'
import { type EngineRun, runSequences, withEngine } from '../support/run-engine.ts'
import { seededRandom } from '../support/seeded-random.ts'
import { TINY_LLAMA, type TinyLlamaShape, tinyLlamaGguf } from '../support/tiny-llama-gguf.ts'

const { vocabSize } = TINY_LLAMA
const random = seededRandom(41)
const specs = Array.from({ length: 6 }, (_, index) =>
  makeSpec(index + 1, {
    promptIds: Array.from({ length: 3 + random.below(60) }, () => random.below(vocabSize)),
    maxTokens: 40,
    ignoreEos: true,
    temperature: index % 2 === 0 ? 0 : 0.8,
    topP: 0.95,
    seed: BigInt(index),
    topLogprobs: 3,
  }),
)

describe.skipIf(!existsSync(ADDON))('an engine with a draft model', () => {
  let folder: string
  let options: EngineOptions
  let plain: EngineRun

  const write = async (name: string, shape: Partial<TinyLlamaShape>, seed: number) => {
    const file = join(folder, `${name}.gguf`)
    await writeGguf(file, tinyLlamaGguf({ ...TINY_LLAMA, ...shape }, seed))
    return file
  }
  /** In a time in which a step of the target takes 8 ms, and one of the draft model 1: really they take the same. */
  const run = async (draft: NonNullable<EngineOptions['draft']> | null): Promise<EngineRun> => {
    const clock = new EngineClock()
    const scheduling = { ...PLAIN_SCHEDULING, maxDraftTokens: 4, promptLookup: false }
    const all = { ...options, scheduling, ...(draft === null ? {} : { draft }) }
    const engine = await loadEngine(all, () => {}, clock)
    const takes = (executor: Executor, ms: number): void => {
      const execute = executor.execute.bind(executor)
      executor.execute = async (...counts) => {
        await execute(...counts)
        clock.ms += ms
      }
    }
    takes(engine.executor, 8)
    if (engine.draftExecutor !== null) takes(engine.draftExecutor, 1)
    try {
      return await runSequences(engine, specs)
    } finally {
      await engine.close()
    }
  }

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ingot-draft-'))
    options = {
      checkpointPath: await write('target', {}, 5),
      threads: 1,
      activations: 'f32',
      kvDtype: 'bf16',
      kvMemoryBytes: 8 * 2 ** 20,
      blockSize: 16,
      maxNumBatchedTokens: 64,
      maxNumSeqs: 4,
      maxContextTokens: 128,
      eosTokenIds: [],
      scheduling: PLAIN_SCHEDULING,
    }
    plain = await run(null)
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  it('that is the model itself guesses nearly every token, and changes no bit', async () => {
    const { answers, numDraftTokens, numAcceptedDrafts } = await run({
      checkpointPath: options.checkpointPath,
    })
    expect(answers).toEqual(plain.answers)
    console.info(JSON.stringify({ numDraftTokens, numAcceptedDrafts }))
    expect(numAcceptedDrafts).toBeGreaterThan(10)
    expect(numAcceptedDrafts / numDraftTokens).toBeGreaterThan(0.9)
  })

  it('that is another model changes no bit either', async () => {
    const checkpointPath = await write('other', { numLayers: 1 }, 6)
    const { answers, numDraftTokens, numAcceptedDrafts } = await run({ checkpointPath })
    expect(answers).toEqual(plain.answers)
    expect(numDraftTokens).toBeGreaterThan(0)
    expect(numAcceptedDrafts).toBeLessThan(numDraftTokens)
  })

  it('is refused when the vocabularies differ', async () => {
    const checkpointPath = await write('stranger', { vocabSize: vocabSize + 32 }, 6)
    await expect(run({ checkpointPath })).rejects.toMatchObject({ code: 'ENGINE_DRAFT_UNUSABLE' })
  })

  it('divides the KV memory, token for token', async () => {
    const draft = { checkpointPath: await write('half', { numLayers: 1 }, 6) }
    const [alone, both] = [
      await withEngine(options, async ({ description }) => description.numBlocks),
      await withEngine(
        { ...options, draft, scheduling: { ...PLAIN_SCHEDULING, maxDraftTokens: 4 } },
        async ({ description, draftExecutor }) => [
          description.numBlocks,
          draftExecutor?.limits.numBlocks,
        ],
      ),
    ]
    const share = TINY_LLAMA.numLayers / (TINY_LLAMA.numLayers + 1)
    expect(Math.abs((both[0] ?? 0) - alone * share)).toBeLessThanOrEqual(1)
    expect(Math.abs((both[1] ?? 0) - (both[0] ?? 0))).toBeLessThanOrEqual(1)
  })
})
