/**
 * What the scheduler's policies are worth on the real model: each beside an engine of the same process with the policy
 * off, in turns, in one run. Answers of both are compared; a policy that changed one would fail the run.
 *
 *   prefix-cache   time to the first token of a prompt whose 2,000 first tokens were computed before
 *   target-itl     gaps between tokens of 16 streams while a prompt of 4,000 tokens is computed, against those of the same
 *                  streams at the same steps without it (against those before it, their own growth would count too)
 *   prompt-lookup  tokens per second of one stream that copies a text of its prompt
 *   swap, disk-tier  see `kv-policies.ts`
 */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadNative } from '../native/loader.ts'
import type { SequenceId } from '../src/base/ids.ts'
import { readModelFacts } from '../src/deployment/model-facts.ts'
import { PLAIN_SCHEDULING, type SchedulingOptions } from '../src/engine/scheduling-options.ts'
import { createTokenizer } from '../src/text/tokenizer.ts'
import { type LoadedEngine, loadEngine } from '../src/worker/load-engine.ts'
import type { EngineOptions } from '../src/worker/messages.ts'
import {
  KV_MEASURES,
  KV_POLICIES,
  type KvPolicyName,
  type KvSides,
  kvSides,
} from './kv-policies.ts'
import type { Measure } from './policy-measure.ts'
import { add, drain, gapsUntil, type PolicyPrompt } from './policy-runs.ts'
import { percentile, randomIds, type Spread, spread } from './statistics.ts'

const STEP_POLICIES = ['prefix-cache', 'target-itl', 'prompt-lookup'] as const
export type PolicyName = (typeof STEP_POLICIES)[number] | KvPolicyName
export const POLICIES: readonly PolicyName[] = [...STEP_POLICIES, ...KV_POLICIES]

/** One policy's figure with and without it; `gain` is of medians, above 1 = better with it. */
export interface PolicyResult {
  readonly policy: PolicyName
  readonly figure: string
  readonly without: Spread
  readonly with: Spread
  readonly gain: number
  /** What it costs elsewhere, where it does. */
  readonly price: Price | null
  readonly rounds: number
}

export interface Price {
  readonly figure: string
  readonly without: Spread
  readonly with: Spread
}

interface Sides {
  readonly without: LoadedEngine
  readonly with: LoadedEngine
}

const CHANGES: Readonly<Record<Exclude<PolicyName, KvPolicyName>, Partial<SchedulingOptions>>> = {
  'prefix-cache': { prefixCache: true },
  'target-itl': { targetItl: 'auto' },
  'prompt-lookup': { maxDraftTokens: 16 },
}

/** Measure one policy over `rounds` rounds after one that is dropped. */
export async function measurePolicy(
  policy: PolicyName,
  options: EngineOptions,
  rounds: number,
  onProgress: (line: string) => void,
): Promise<PolicyResult> {
  const wanted = await sidesOf(policy, options)
  const sides: Sides = {
    without: await loadEngine(wanted.without),
    with: await loadEngine(wanted.with),
  }
  const measure = await MEASURES[policy](options.checkpointPath)
  const values = { without: [] as number[], with: [] as number[] }
  const prices = { without: [] as number[], with: [] as number[] }
  for (let round = 0; round <= rounds; round++) {
    const answers: string[] = []
    // Whoever is first in a round meets a colder machine: they take turns.
    const order = round % 2 === 0 ? (['without', 'with'] as const) : (['with', 'without'] as const)
    for (const side of order) {
      const { value, answer, price } = await measure.run(sides[side], round)
      answers.push(answer)
      if (round > 0) values[side].push(value)
      if (round > 0 && price !== undefined) prices[side].push(price)
      const paid = price === undefined ? '' : `; ${price.toFixed(0)} ${measure.priceFigure}`
      onProgress(`${policy}, round ${round}, ${side}: ${value.toFixed(2)} ${measure.figure}${paid}`)
    }
    if (answers[0] !== answers[1]) throw new Error(`${policy} changed an answer`)
  }
  await sides.without.close()
  await sides.with.close()
  wanted.end()
  const [off, on] = [spread(values.without), spread(values.with)]
  const gain = measure.isRate ? on.median / off.median : off.median / on.median
  const { figure, priceFigure } = measure
  const price =
    priceFigure === undefined
      ? null
      : { figure: priceFigure, without: spread(prices.without), with: spread(prices.with) }
  return { policy, figure, without: off, with: on, gain, price, rounds }
}

async function sidesOf(policy: PolicyName, options: EngineOptions): Promise<KvSides> {
  if (policy === 'swap' || policy === 'disk-tier') return kvSides(policy, options)
  const scheduling = { ...PLAIN_SCHEDULING, ...CHANGES[policy] }
  return {
    without: { ...options, scheduling: PLAIN_SCHEDULING },
    with: { ...options, scheduling },
    end: () => {},
  }
}

const MEASURES: Readonly<Record<PolicyName, (path: string) => Promise<Measure>>> = {
  swap: async () => KV_MEASURES.swap,
  'disk-tier': async () => KV_MEASURES['disk-tier'],
  'prefix-cache': async () => ({
    figure: 'ms to the first token',
    isRate: false,
    run: async (engine, round) => {
      const prefix = randomIds(2000, round)
      await drain(engine, [{ promptIds: [...prefix, ...randomIds(32, 900 + round)], maxTokens: 1 }])
      const second = { promptIds: [...prefix, ...randomIds(32, 1900 + round)], maxTokens: 1 }
      const { answers, firstTokenMs } = await drain(engine, [second])
      return { value: firstTokenMs, answer: answers.join() }
    },
  }),
  'target-itl': async () => ({
    figure: '× p99 gap beside a prompt of 4,000, against the same steps without it',
    isRate: false,
    priceFigure: 'ms that the prompt took',
    run: async (engine, round) => {
      const streams: PolicyPrompt[] = Array.from({ length: 16 }, (_, index) => ({
        promptIds: randomIds(64, 100 * round + index),
        maxTokens: 1500,
      }))
      const prompt = { promptIds: randomIds(4000, 77 + round), maxTokens: 1 }
      const beside = await besideStreams(engine, streams, (id) => (_, ended) => ended.has(id), [
        prompt,
      ])
      const alone = await besideStreams(engine, streams, () => (steps) => steps === beside.length)
      const promptMs = beside.reduce((sum, gap) => sum + gap, 0)
      return { value: p99(beside) / p99(alone), answer: '', price: promptMs }
    },
  }),
  'prompt-lookup': async (path) => {
    const prompt = await copyPrompt(path)
    return {
      figure: 'tokens/s',
      isRate: true,
      run: async (engine) => {
        const { answers, firstTokenMs, totalMs } = await drain(engine, [
          { promptIds: prompt, maxTokens: 256 },
        ])
        return { value: (255 / (totalMs - firstTokenMs)) * 1000, answer: answers.join() }
      },
    }
  },
}

/** Gaps of the streams from their 240th step on, which is when `prompts` come, until `isDone` of the last id. */
async function besideStreams(
  engine: LoadedEngine,
  streams: readonly PolicyPrompt[],
  isDone: (id: number) => (numSteps: number, ended: ReadonlySet<number>) => boolean,
  prompts: readonly PolicyPrompt[] = [],
): Promise<number[]> {
  const ids = add(engine, streams)
  await gapsUntil(engine, (steps) => steps === 240)
  const last = add(engine, prompts).at(-1) ?? 0
  const gaps = await gapsUntil(engine, isDone(last))
  for (const running of ids) engine.core.cancel(running as SequenceId)
  await drain(engine, [])
  return gaps
}

function p99(gaps: readonly number[]): number {
  return percentile(
    [...gaps].sort((a, b) => a - b),
    0.99,
  )
}

/** A text, twice, and begun a third time: what editing, quoting and code completion look like to a model. */
async function copyPrompt(checkpointPath: string): Promise<number[]> {
  const { tokenizer } = await readModelFacts(checkpointPath)
  if (tokenizer === null) throw new Error('prompt-lookup needs a model with a tokenizer')
  const text = readFileSync(join(import.meta.dirname, '..', '..', 'LICENSE'), 'utf8')
  const passage = text.slice(0, 4000).replace(/\s+/g, ' ').slice(0, 1800)
  const words = `${passage}\n\n${passage}\n\n${passage.slice(0, 200)}`
  const ids = await createTokenizer(tokenizer, loadNative()).encode(words, {
    addSpecialTokens: false,
  })
  return [...ids]
}
