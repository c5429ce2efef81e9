/**
 * What every executor must hold (D5): the same tokens and the same bits of every logprob, whatever shares the batch,
 * however a prompt is cut, with any number of threads, and after preemption. Through the real engine, on a tiny llama
 * with random weights. An executor is one more entry in `executors`.
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { SequenceId } from '../../src/base/ids.ts'
import { PLAIN_SCHEDULING } from '../../src/engine/scheduling-options.ts'
import type { EngineOptions, SequenceSpec } from '../../src/worker/messages.ts'
import { makeSpec } from '../support/engine-builders.ts'
import {
  type Capability,
  type ExecutorCase,
  executorCases,
  unbuiltCases,
} from '../support/executor-cases.ts'
import { type EngineRun, runSequences } from '../support/run-engine.ts'
import { seededRandom } from '../support/seeded-random.ts'

const SEED = 20_261_123

/** Prompts of 1 to 96 tokens, greedy and drawn, with and without logprobs of the prompt. */
function makeSpecs({ vocabSize, numSeqs }: ExecutorCase): readonly SequenceSpec[] {
  const random = seededRandom(SEED)
  return Array.from({ length: numSeqs }, (_, index) => {
    const promptIds = Array.from({ length: 1 + random.below(96) }, () => random.below(vocabSize))
    return makeSpec(index + 1, {
      promptIds,
      maxTokens: 4 + random.below(12),
      temperature: index % 3 === 0 ? 0 : 0.9,
      topP: index % 2 === 0 ? 1 : 0.95,
      topK: index % 5 === 0 ? 40 : 0,
      minP: index % 7 === 0 ? 0.02 : 0,
      presencePenalty: index % 4 === 0 ? 0.5 : 0,
      repetitionPenalty: index % 6 === 0 ? 1.2 : 1,
      seed: BigInt(SEED + index),
      choice: index % 2,
      topLogprobs: 5,
      promptLogprobs: index % 4 === 1 ? 2 : null,
    })
  })
}

describe.each(executorCases)('$name', (executor) => {
  const { vocabSize, kvBytesPerToken, skips } = executor
  const specs = makeSpecs(executor)
  let folder: string
  let checkpointPath: string
  let alone: EngineRun['answers']

  function engineOptions(change: Partial<EngineOptions> = {}, numBlocks = 1024): EngineOptions {
    return {
      checkpointPath,
      threads: 2,
      ...executor.options,
      kvMemoryBytes: numBlocks * 16 * kvBytesPerToken,
      blockSize: 16,
      maxNumBatchedTokens: 512,
      maxNumSeqs: 64,
      maxContextTokens: 128,
      eosTokenIds: [],
      scheduling: PLAIN_SCHEDULING,
      ...change,
    }
  }

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ingot-conformance-'))
    checkpointPath = await executor.write(folder)
    const threads = skips.threads === undefined ? 1 : 2
    alone = await executor.withEngine(engineOptions({ threads }), async (engine) => {
      const answers: EngineRun['answers'] = new Map()
      for (const spec of specs) {
        const run = await runSequences(engine, [spec])
        for (const [id, answer] of run.answers) answers.set(id, answer)
      }
      return answers
    })
  })
  afterAll(() => rm(folder, { recursive: true }))

  function expectSame({ answers }: EngineRun, of: readonly SequenceSpec[] = specs): void {
    for (const { id } of of) expect(answers.get(id)).toStrictEqual(alone.get(id))
  }

  function run(change: Partial<EngineOptions>, of = specs, numBlocks?: number): Promise<EngineRun> {
    return executor.withEngine(engineOptions(change, numBlocks), (engine) =>
      runSequences(engine, of),
    )
  }

  /** Skipped by whoever cannot do it; the reason stands in the title of its own test. */
  function testOf(capability: Capability) {
    return skips[capability] === undefined ? it : it.skip
  }

  it.skip.each(Object.entries(skips))('cannot be asked for %s: %s', () => {})

  it('answers differ from each other, so that equality means something', () => {
    const texts = new Set([...alone.values()].map(({ tokenIds }) => tokenIds.join()))
    expect(texts.size).toBeGreaterThan(specs.length * 0.9)
    expect([...alone.values()].every(({ finish }) => finish === 'length')).toBe(true)
  })

  it.each([2, 7, 16, 33, 64].filter((numSeqs) => numSeqs <= executor.numSeqs))(
    'a batch of %d is each sequence alone',
    async (numSeqs) => {
      const some = specs.slice(0, numSeqs)
      expectSame(await run({}, some), some)
    },
  )

  it('sequences that join in the middle change nothing', async () => {
    const random = seededRandom(SEED + 1)
    const arrivals = () => random.below(4)
    expectSame(
      await executor.withEngine(engineOptions(), (engine) => runSequences(engine, specs, arrivals)),
    )
  })

  it.each([1, 2, 5, 16, 31, 64])(
    'a prompt cut at every %d tokens is the whole prompt',
    async (budget) => {
      const few = specs.slice(0, 12)
      const change = { maxNumBatchedTokens: budget, maxNumSeqs: Math.min(budget, 4) }
      expectSame(await run(change, few), few)
    },
  )

  testOf('threads').each([1, 2, 3])('%d threads compute the same bits', async (threads) => {
    expectSame(await run({ threads }))
  })

  it('blocks of another size hold the same context', async () => {
    expectSame(await run({ blockSize: 64 }))
  })

  it('a sequence that was preempted goes on as if nothing had happened', async () => {
    const preempted = await run({ maxNumSeqs: 16 }, specs, specs.length < 64 ? 16 : 30)
    expectSame(preempted)
    expect(preempted.numPreemptions).toBeGreaterThan(specs.length < 64 ? 0 : 2)
  })

  testOf('prefixReuse')(
    'a prefix that is found in the cache is the prefix computed again',
    async () => {
      const stem = Array.from({ length: 70 }, (_, index) => (index * 37 + 11) % vocabSize)
      const some = specs.slice(0, 24).map((spec, index) => ({
        ...spec,
        promptIds: Int32Array.from([
          ...stem.slice(0, 20 + 2 * index),
          ...spec.promptIds.slice(0, 40),
        ]),
      }))
      const computed = await run({}, some)
      const again = some.map((spec) => ({ ...spec, id: (spec.id + 1000) as SequenceId }))
      const scheduling = { ...PLAIN_SCHEDULING, prefixCache: true }
      // 90 blocks: what was cached is evicted all the time, and often just in time.
      for (const numBlocks of [1024, 90]) {
        await executor.withEngine(
          engineOptions({ scheduling, maxNumSeqs: 8 }, numBlocks),
          async (engine) => {
            const first = await runSequences(engine, some)
            const second = await runSequences(engine, again)
            for (const { id } of some) {
              expect(first.answers.get(id)).toStrictEqual(computed.answers.get(id))
              const later = (id + 1000) as SequenceId
              expect(second.answers.get(later)).toStrictEqual(computed.answers.get(id))
            }
            expect(second.numCachedTokens).toBeGreaterThan(numBlocks === 1024 ? 1000 : 100)
          },
        )
      }
    },
  )

  testOf('drafts')('guesses from repeated text change nothing', async () => {
    // Three tokens are all that is ever drawn, so that runs come again.
    const logitBias = [5, 6, 7].map((tokenId) => [tokenId, 100] as const)
    const some = specs.slice(0, 16).map((spec, index) => ({
      ...spec,
      promptIds: spec.promptIds.slice(0, 40),
      params: {
        ...spec.params,
        presencePenalty: 0,
        repetitionPenalty: index === 3 ? 1.1 : 1,
        maxTokens: 60,
        logitBias,
      },
    }))
    const computed = await run({}, some)
    const scheduling = { ...PLAIN_SCHEDULING, maxDraftTokens: 8 }
    const guessed = await run({ scheduling, maxNumSeqs: 2 }, some)
    for (const { id } of some)
      expect(guessed.answers.get(id)).toStrictEqual(computed.answers.get(id))
    console.info(`guesses: ${guessed.numDraftTokens}, right: ${guessed.numAcceptedDrafts}`)
    expect(guessed.numDraftTokens).toBeGreaterThan(20)
  })

  it('a second run on the same engine, over used blocks, is like the first', async () => {
    const before = specs.map((spec) => ({ ...spec, id: (spec.id + 1000) as SequenceId }))
    const again = executor.withEngine(engineOptions({}, 400), async (engine) => {
      await runSequences(engine, before)
      return runSequences(engine, [...specs].reverse())
    })
    expectSame(await again)
  })
})

it.skip.each(unbuiltCases)('%s: native/ingot.node is not built', () => {})
