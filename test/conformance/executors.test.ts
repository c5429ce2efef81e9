/**
 * What every executor must hold (D5): the same tokens and the same bits of every logprob, whatever shares the batch,
 * however a prompt is cut, with any number of threads, and after preemption. Through the real engine, on a tiny llama
 * with random weights. An executor is one more entry in `executors`.
 */

import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { SequenceId } from '../../src/base/ids.ts'
import { PLAIN_SCHEDULING } from '../../src/engine/scheduling-options.ts'
import type { EngineOptions, SequenceSpec } from '../../src/worker/messages.ts'
import { makeSpec } from '../support/engine-builders.ts'
import { writeGguf } from '../support/gguf-writer.ts'
import { type EngineRun, runSequences, withEngine } from '../support/run-engine.ts'
import { seededRandom } from '../support/seeded-random.ts'
import { TINY_LLAMA, type TinyLlamaShape, tinyLlamaGguf } from '../support/tiny-llama-gguf.ts'

const SEED = 20_261_123
const NUM_SEQS = 64
const ADDON = new URL('../../native/ingot.node', import.meta.url)

interface ExecutorCase {
  readonly name: string
  readonly shape: Partial<TinyLlamaShape>
  readonly options: Pick<EngineOptions, 'activations' | 'kvDtype'>
  readonly kvElementBytes: number
}

const executors: readonly ExecutorCase[] = [
  {
    name: 'native, Q4_1, int8 activations, f32 KV',
    shape: { format: 'Q4_1' },
    options: { activations: 'int8', kvDtype: 'f32' },
    kvElementBytes: 4,
  },
  {
    name: 'native, Q8_0, int8 activations, bf16 KV, biases, rope factors',
    shape: { format: 'Q8_0', hasBiases: true, hasRopeFactors: true, isTied: false },
    options: { activations: 'int8', kvDtype: 'bf16' },
    kvElementBytes: 2,
  },
  {
    name: 'native, Q4_1, f32 activations, f32 KV',
    shape: { format: 'Q4_1' },
    options: { activations: 'f32', kvDtype: 'f32' },
    kvElementBytes: 4,
  },
  {
    name: 'native, F32, f32 activations, bf16 KV',
    shape: { format: 'F32', numKvHeads: 3 },
    options: { activations: 'f32', kvDtype: 'bf16' },
    kvElementBytes: 2,
  },
]

/** Prompts of 1 to 96 tokens, greedy and drawn, with and without logprobs of the prompt. */
function makeSpecs(): readonly SequenceSpec[] {
  const random = seededRandom(SEED)
  return Array.from({ length: NUM_SEQS }, (_, index) => {
    const promptIds = Array.from({ length: 1 + random.below(96) }, () => random.below(320))
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

describe.skipIf(!existsSync(ADDON))(
  'executors (skipped when native/ingot.node is not built)',
  () => {
    describe.each(executors)('$name', ({ shape, options, kvElementBytes }) => {
      const specs = makeSpecs()
      const tiny = { ...TINY_LLAMA, ...shape }
      const blockBytes = 16 * 2 * tiny.numLayers * tiny.numKvHeads * tiny.headDim * kvElementBytes
      let folder: string
      let checkpointPath: string
      let alone: EngineRun['answers']

      function engineOptions(change: Partial<EngineOptions> = {}, numBlocks = 1024): EngineOptions {
        return {
          checkpointPath,
          threads: 2,
          ...options,
          kvMemoryBytes: numBlocks * blockBytes,
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
        checkpointPath = join(folder, 'tiny.gguf')
        await writeGguf(checkpointPath, tinyLlamaGguf(tiny, SEED))
        alone = await withEngine(engineOptions({ threads: 1 }), async (engine) => {
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

      function run(
        change: Partial<EngineOptions>,
        of = specs,
        numBlocks?: number,
      ): Promise<EngineRun> {
        return withEngine(engineOptions(change, numBlocks), (engine) => runSequences(engine, of))
      }

      it('answers differ from each other, so that equality means something', () => {
        const texts = new Set([...alone.values()].map(({ tokenIds }) => tokenIds.join()))
        expect(texts.size).toBeGreaterThan(NUM_SEQS * 0.9)
        expect([...alone.values()].every(({ finish }) => finish === 'length')).toBe(true)
      })

      it.each([2, 7, 16, 33, 64])('a batch of %d is each sequence alone', async (numSeqs) => {
        const some = specs.slice(0, numSeqs)
        expectSame(await run({}, some), some)
      })

      it('sequences that join in the middle change nothing', async () => {
        const random = seededRandom(SEED + 1)
        const arrivals = () => random.below(4)
        expectSame(
          await withEngine(engineOptions(), (engine) => runSequences(engine, specs, arrivals)),
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

      it.each([1, 2, 3])('%d threads compute the same bits', async (threads) => {
        expectSame(await run({ threads }))
      })

      it('blocks of another size hold the same context', async () => {
        expectSame(await run({ blockSize: 64 }))
      })

      it('a sequence that was preempted goes on as if nothing had happened', async () => {
        const preempted = await run({ maxNumSeqs: 16 }, specs, 30)
        expectSame(preempted)
        expect(preempted.numPreemptions).toBeGreaterThan(3)
      })

      it('a prefix that is found in the cache is the prefix computed again', async () => {
        const stem = Array.from({ length: 70 }, (_, index) => (index * 37 + 11) % 320)
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
          await withEngine(
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
      })

      it('guesses from repeated text change nothing', async () => {
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
        const again = withEngine(engineOptions({}, 400), async (engine) => {
          await runSequences(engine, before)
          return runSequences(engine, [...specs].reverse())
        })
        expectSame(await again)
      })
    })
  },
)
