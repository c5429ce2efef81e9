/**
 * A model against transformers in f32 on the same dequantized weights, through the real engine and executor in this
 * process. Distributions are compared along the reference's own tokens (teacher forcing), so that one near-tie does not
 * make all later steps incomparable; whole answers are compared as well.
 */

import { describe, expect, it } from 'vitest'
import { KV_DTYPES } from '../../src/base/kv-dtype.ts'
import { PLAIN_SCHEDULING } from '../../src/engine/scheduling-options.ts'
import type { LoadedEngine } from '../../src/worker/load-engine.ts'
import type { EngineOptions } from '../../src/worker/messages.ts'
import { makeSpec } from './engine-builders.ts'
import { argmax, type Golden, type GoldenCase, klOf, klOfTop, logSoftmax } from './golden.ts'
import { runSequences, withEngine } from './run-engine.ts'

const LOGPROB_TOLERANCE = 0.005
/** Below this difference between first and second, the reference's own choice is a matter of rounding. */
const MARGIN = 0.02
const KL_LIMIT = 0.01

interface Forced {
  /** Of the tokens 1 … n - 1 of the prompt. */
  readonly promptLogprobs: readonly number[]
  /** Log-probabilities over the vocabulary before each greedy token. */
  readonly steps: readonly Float32Array[]
}

export interface GoldenSuite {
  readonly model: string
  readonly golden: Golden
  readonly checkpointPath: string
  readonly eosTokenIds: readonly number[]
}

let nextId = 1

/** Prompt and answer of the reference in one step, every row's logits read. */
async function force(engine: LoadedEngine, golden: GoldenCase): Promise<Forced> {
  const { core, executor } = engine
  const promptIds = [...golden.prompt_ids, ...golden.greedy_ids.slice(0, -1)]
  core.add(
    makeSpec(nextId++, {
      promptIds,
      temperature: 0,
      maxTokens: 1,
      promptLogprobs: 0,
      ignoreEos: true,
    }),
  )
  const [update, ...others] = (await core.step()).updates
  expect([others.length, update?.finish]).toEqual([0, 'length'])
  const { vocabSize } = executor.limits
  const steps = golden.greedy_ids.map((_, index) => {
    const row = golden.prompt_ids.length - 1 + index
    return logSoftmax(executor.logits.subarray(row * vocabSize, (row + 1) * vocabSize))
  })
  const told = update?.promptLogprobs ?? []
  expect(told.map(({ tokenId }) => tokenId)).toEqual(promptIds.slice(1))
  const promptLogprobs = told.slice(0, golden.prompt_ids.length - 1).map(({ logprob }) => logprob)
  return { promptLogprobs, steps }
}

async function forceAll(
  cases: readonly GoldenCase[],
  options: EngineOptions,
): Promise<readonly Forced[]> {
  return withEngine(options, async (engine) => {
    const forced: Forced[] = []
    for (const reference of cases) forced.push(await force(engine, reference))
    return forced
  })
}

function maxDifference(a: readonly number[], b: readonly number[]): number {
  expect(a).toHaveLength(b.length)
  return a.reduce((most, value, index) => Math.max(most, Math.abs(value - b[index]!)), 0)
}

function margin(top: GoldenCase['top5'][number]): number {
  return top[0]![1] - top[1]![1]
}

export function describeGolden({ model, golden, checkpointPath, eosTokenIds }: GoldenSuite): void {
  const { cases } = golden
  let exactRun: Promise<readonly Forced[]> | undefined
  const options = (change: Partial<EngineOptions>): EngineOptions => ({
    checkpointPath,
    threads: 2,
    activations: 'f32',
    kvDtype: 'f32',
    kvMemoryBytes: 128 * 2 ** 20,
    blockSize: 32,
    maxNumBatchedTokens: 512,
    maxNumSeqs: 16,
    maxContextTokens: 1024,
    eosTokenIds,
    scheduling: PLAIN_SCHEDULING,
    ...change,
  })

  describe(`${model} against ${golden.reference}`, () => {
    it('f32 activations and f32 KV: every logprob within 0.005, every clear choice the same', async () => {
      await withEngine(options({}), async (engine) => {
        const table: Record<string, object> = {}
        for (const reference of cases) {
          const { promptLogprobs, steps } = await force(engine, reference)
          const prompt = maxDifference(promptLogprobs, reference.prompt_logprobs)
          let top5 = 0
          let numClear = 0
          reference.top5.forEach((top, step) => {
            const ours = steps[step]!
            for (const [id, logprob] of top) top5 = Math.max(top5, Math.abs(ours[id]! - logprob))
            if (margin(top) <= MARGIN) return
            numClear += 1
            expect(argmax(ours), `${reference.id}, step ${step}`).toBe(reference.greedy_ids[step])
          })
          table[reference.id] = {
            'prompt logprobs': prompt,
            'top 5': top5,
            steps: steps.length,
            clear: numClear,
          }
          expect(prompt, `${reference.id}: prompt logprobs`).toBeLessThanOrEqual(LOGPROB_TOLERANCE)
          expect(top5, `${reference.id}: top 5`).toBeLessThanOrEqual(LOGPROB_TOLERANCE)
        }
        console.log(`max difference to the reference, f32/f32, tolerance ${LOGPROB_TOLERANCE}`)
        console.table(table)
      })
    })

    it('f32: the greedy answers are the reference up to its first near-tie', async () => {
      const specs = cases.map(({ prompt_ids, greedy_ids }) =>
        makeSpec(nextId++, { promptIds: prompt_ids, temperature: 0, maxTokens: greedy_ids.length }),
      )
      const { answers } = await withEngine(options({}), (engine) => runSequences(engine, specs))
      let numEqual = 0
      cases.forEach((reference, index) => {
        const { tokenIds } = answers.get(specs[index]!.id)!
        const tie = reference.top5.findIndex((top) => margin(top) <= MARGIN)
        const end = tie < 0 ? reference.greedy_ids.length : tie
        expect(tokenIds.slice(0, end), reference.id).toEqual(reference.greedy_ids.slice(0, end))
        if (tokenIds.join() === reference.greedy_ids.join()) numEqual += 1
      })
      console.log(`${numEqual} of ${cases.length} whole greedy answers equal the reference`)
    })

    it.each(KV_DTYPES)('int8 activations and %s KV: mean KL at most 0.01', async (kvDtype) => {
      // The reference tells five tokens a step. Our own f32, which was compared with it above, tells all of them.
      exactRun ??= forceAll(cases, options({}))
      const exact = await exactRun
      const forced = await forceAll(cases, options({ activations: 'int8', kvDtype }))
      const kl = { renormalised: [] as number[], bucketed: [] as number[], whole: [] as number[] }
      let numSame = 0
      let promptDifference = 0
      cases.forEach((reference, index) => {
        const { promptLogprobs, steps } = forced[index]!
        const difference = maxDifference(promptLogprobs, reference.prompt_logprobs)
        promptDifference = Math.max(promptDifference, difference)
        reference.top5.forEach((top, step) => {
          const { renormalised, bucketed } = klOfTop(top, steps[step]!)
          kl.renormalised.push(renormalised)
          kl.bucketed.push(bucketed)
          kl.whole.push(klOf(exact[index]!.steps[step]!, steps[step]!))
          if (argmax(steps[step]!) === reference.greedy_ids[step]) numSame += 1
        })
      })
      const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length
      console.log(`int8 activations, ${kvDtype} KV, against the reference, limit ${KL_LIMIT}`)
      console.table({
        'mean KL, top 5 renormalised': mean(kl.renormalised),
        'mean KL, top 5 and the rest': mean(kl.bucketed),
        'mean KL, whole vocabulary, to our f32': mean(kl.whole),
        'largest KL, whole vocabulary': Math.max(...kl.whole),
        'same choice': `${numSame} of ${kl.whole.length}`,
        'largest prompt logprob difference': promptDifference,
      })
      for (const values of Object.values(kl)) expect(mean(values)).toBeLessThanOrEqual(KL_LIMIT)
    })

    it.each([
      { activations: 'f32', kvDtype: 'f32' },
      { activations: 'int8', kvDtype: 'bf16' },
    ] as const)(
      '$activations/$kvDtype: mixed batches in small chunks are each case alone',
      async (types) => {
        const specs = cases.map(({ prompt_ids }) => {
          const promptIds = [...prompt_ids]
          return makeSpec(nextId++, {
            promptIds,
            temperature: 0,
            maxTokens: 12,
            topLogprobs: 5,
            promptLogprobs: 1,
          })
        })
        const alone = await withEngine(options(types), async (engine) => {
          const runs = []
          for (const spec of specs) runs.push(await runSequences(engine, [spec]))
          return new Map(runs.flatMap(({ answers }) => [...answers]))
        })
        const mixed = options({ ...types, threads: 1, maxNumBatchedTokens: 40, maxNumSeqs: 5 })
        const together = await withEngine(mixed, (engine) => runSequences(engine, specs, () => 2))
        for (const { id } of specs) expect(together.answers.get(id)).toStrictEqual(alone.get(id))
      },
    )
  })
}
