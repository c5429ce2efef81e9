/**
 * What every executor must hold whose KV lies in blocks: blocks that were copied, swapped out and in, or kept on disk
 * give the tokens and the logprob bits of blocks that were computed in place. Through the real engine.
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { SequenceId } from '../../src/base/ids.ts'
import type { EngineCore } from '../../src/engine/engine-core.ts'
import { PLAIN_SCHEDULING, type SchedulingOptions } from '../../src/engine/scheduling-options.ts'
import type { EngineCoreStats } from '../../src/engine/updates.ts'
import type { EngineOptions, SequenceSpec } from '../../src/worker/messages.ts'
import { makeSpec } from '../support/engine-builders.ts'
import { executorCases } from '../support/executor-cases.ts'
import { type EngineRun, runSequences } from '../support/run-engine.ts'
import { seededRandom } from '../support/seeded-random.ts'

const CHOICES = 4
const cases = executorCases.filter(({ skips }) => skips.prefixReuse === undefined)

describe.each(cases)('$name', (executor) => {
  const { below } = seededRandom(20_270_101)
  /** Requests of four choices each, whose prompts end in the middle of a block, at its end and behind its first token. */
  const specs: readonly SequenceSpec[] = [37, 48, 33, 80, 17, 65].flatMap((numTokens, request) => {
    const promptIds = Array.from({ length: numTokens }, () => below(executor.vocabSize))
    return Array.from({ length: CHOICES }, (_, choice) =>
      makeSpec(request * CHOICES + choice + 1, {
        promptIds,
        maxTokens: 6 + below(24),
        temperature: 0.9,
        seed: BigInt(request),
        choice,
        topLogprobs: 5,
        presencePenalty: request === 2 ? 0.5 : 0,
        promptLogprobs: request === 1 && choice === 0 ? 1 : null,
      }),
    )
  })
  const choices = specs.map((spec, index) => {
    const leader = specs[index - (index % CHOICES)]!.id
    return leader === spec.id ? spec : { ...spec, leader }
  })
  let folder: string
  let checkpointPath: string
  let alone: EngineRun['answers']

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ingot-moves-'))
    checkpointPath = await executor.write(folder)
    alone = new Map()
    await withEngine(PLAIN_SCHEDULING, 512, async (engine) => {
      for (const spec of specs) {
        const { answers } = await runSequences(engine, [spec])
        for (const [id, answer] of answers) alone.set(id, answer)
      }
    })
  })
  afterAll(() => rm(folder, { recursive: true }))

  function withEngine<T>(
    scheduling: SchedulingOptions,
    numBlocks: number,
    use: Parameters<typeof executor.withEngine<T>>[1],
    change: Partial<EngineOptions> = {},
  ): Promise<T> {
    const options = {
      checkpointPath,
      threads: 2,
      ...executor.options,
      kvMemoryBytes: numBlocks * 16 * executor.kvBytesPerToken,
      blockSize: 16 as const,
      maxNumBatchedTokens: 256,
      maxNumSeqs: 16,
      maxContextTokens: 128,
      eosTokenIds: [],
      scheduling,
      ...change,
    }
    return executor.withEngine(options, use)
  }

  /** Run and compare with every sequence alone. */
  async function stats(
    scheduling: Partial<SchedulingOptions>,
    numBlocks: number,
    of: readonly SequenceSpec[],
  ): Promise<EngineCoreStats> {
    return withEngine({ ...PLAIN_SCHEDULING, ...scheduling }, numBlocks, async (engine) => {
      const { answers } = await runSequences(engine, of)
      for (const { id } of of) expect(answers.get(id)).toStrictEqual(alone.get(id))
      return engine.core.stats()
    })
  }

  it('choices that begin with copies of one last block answer as separate requests', async () => {
    const { numCopiedTails } = await stats({ prefixCache: true }, 512, choices)
    // Of six prompts, those of 17, 33 and 65 tokens have nothing but the last token in their last block.
    expect(numCopiedTails).toBe(3 * (CHOICES - 1))
  })

  it('choices do so too where blocks run out all the time', async () => {
    const { numPreemptions, numCopiedTails } = await stats({ prefixCache: true }, 30, choices)
    expect([numPreemptions > 0, numCopiedTails > 0]).toEqual([true, true])
  })

  it.each([
    ['all of it', 1024],
    ['some of it', 12],
  ])('a sequence whose KV is swapped, %s, goes on as if nothing had happened', async (_, slots) => {
    const swapBytes = slots * (executor.isNative ? 16 * executor.kvBytesPerToken : 16 * 8)
    for (const prefixCache of [false, true]) {
      const totals = await stats({ swapBytes, prefixCache }, 20, specs)
      expect(totals.numPreemptions).toBeGreaterThan(2)
      expect(totals.numSwappedInBlocks).toBeGreaterThan(0)
    }
  })

  it.skipIf(!executor.isNative)(
    'blocks that come from the disk, also after a restart, are the blocks that were computed',
    async () => {
      const kvDisk = {
        folder: join(folder, 'kv'),
        limitBytes: 2 ** 30,
        modelDigest: 'tiny',
        version: 'test',
      }
      const first = specs.filter((_, index) => index % CHOICES === 0)
      const scheduling = { ...PLAIN_SCHEDULING, prefixCache: true }
      for (const start of ['fresh', 'again'] as const) {
        await withEngine(
          scheduling,
          9,
          async ({ core, tier }) => {
            // So small a model may be quicker than any disk; here it is read whatever it takes.
            Object.defineProperty(tier, 'loadBlockMs', { value: 0 })
            // One after the other in a pool that holds one of them: each pushes the one before out.
            for (const round of [0, 1]) {
              for (const spec of first) {
                const id = (spec.id + 1000 * (1 + round)) as SequenceId
                const { answers, numCachedTokens } = await runSequences({ core }, [{ ...spec, id }])
                expect(answers.get(id)).toStrictEqual(alone.get(spec.id))
                // Full blocks but the last token's; none of the one that reports on its prompt.
                const numFull = Math.floor((spec.promptIds.length - 1) / 16) * 16
                const isFound = start === 'again' || round === 1
                const reports = spec.params.promptLogprobs !== null
                expect(numCachedTokens).toBe(isFound && !reports ? numFull : 0)
                await settled(core)
              }
            }
            const { numRestoredTokens, tier: kept } = core.stats()
            expect(numRestoredTokens).toBeGreaterThan(100)
            expect(kept).toMatchObject({ numDroppedBlocks: 0, numBadFiles: 0, isPaused: false })
            await core.keepCache(Number.POSITIVE_INFINITY)
          },
          { kvDisk },
        )
      }
    },
  )
})

/** What was given up is on disk. */
async function settled(core: EngineCore): Promise<void> {
  for (let last = -1; ; ) {
    const { numSavedBlocks = 0 } = core.stats().tier ?? {}
    if (numSavedBlocks === last) return
    last = numSavedBlocks
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
