/**
 * What KV that is moved instead of computed is worth on the real model, for `policies.ts`: both sides have the same, too
 * small KV memory.
 *
 *   swap       tokens per second of 16 sequences, twice as many as memory holds when they are longest
 *   disk-tier  time to the first token of a prompt whose 2,000 first tokens were computed before, and pushed out since
 *
 * Times are of a warm page cache: what was written a moment ago is read from memory. A disk that is asked for it in fact
 * adds what it takes.
 */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readModelFacts } from '../src/deployment/model-facts.ts'
import { PLAIN_SCHEDULING } from '../src/engine/scheduling-options.ts'
import type { LoadedEngine } from '../src/worker/load-engine.ts'
import type { EngineOptions } from '../src/worker/messages.ts'
import type { Measure } from './policy-measure.ts'
import { drain } from './policy-runs.ts'
import { randomIds } from './statistics.ts'

export const KV_POLICIES = ['swap', 'disk-tier'] as const
export type KvPolicyName = (typeof KV_POLICIES)[number]

export interface KvSides {
  readonly without: EngineOptions
  readonly with: EngineOptions
  /** Remove what was written. */
  end(): void
}

const NUM_SEQUENCES = 16
const PROMPT_TOKENS = 256
const ANSWER_TOKENS = 128
const PREFIX_TOKENS = 2000

export async function kvSides(policy: KvPolicyName, options: EngineOptions): Promise<KvSides> {
  const { kvBytesPerToken } = await readModelFacts(options.checkpointPath)
  const bytesPerToken = kvBytesPerToken(options.kvDtype)
  if (policy === 'swap') {
    const halfTokens = (NUM_SEQUENCES / 2) * (PROMPT_TOKENS + ANSWER_TOKENS)
    const kvMemoryBytes = halfTokens * bytesPerToken
    const small = { ...options, kvMemoryBytes, maxContextTokens: 1024 }
    const scheduling = { ...PLAIN_SCHEDULING, swapBytes: kvMemoryBytes }
    return {
      without: { ...small, scheduling: PLAIN_SCHEDULING },
      with: { ...small, scheduling },
      end: () => {},
    }
  }
  const folder = mkdtempSync(join(tmpdir(), 'ingot-bench-kv-'))
  const kvMemoryBytes = (PREFIX_TOKENS + 160) * bytesPerToken
  const scheduling = { ...PLAIN_SCHEDULING, prefixCache: true }
  const small = { ...options, kvMemoryBytes, maxContextTokens: PREFIX_TOKENS + 128, scheduling }
  const kvDisk = { folder, limitBytes: 2 ** 33, modelDigest: 'bench', version: 'bench' }
  return {
    without: small,
    with: { ...small, kvDisk },
    end: () => rmSync(folder, { recursive: true, force: true }),
  }
}

export const KV_MEASURES: Readonly<Record<KvPolicyName, Measure>> = {
  swap: {
    figure: 'tokens/s',
    isRate: true,
    priceFigure: 'preemptions',
    run: async (engine, round) => {
      const before = engine.core.stats().numPreemptions
      const prompts = Array.from({ length: NUM_SEQUENCES }, (_, index) => ({
        promptIds: randomIds(PROMPT_TOKENS, 100 * round + index),
        maxTokens: ANSWER_TOKENS,
      }))
      const { answers, texts, totalMs } = await drain(engine, prompts)
      const price = engine.core.stats().numPreemptions - before
      return { value: (answers.length / totalMs) * 1000, answer: texts.join(';'), price }
    },
  },
  'disk-tier': {
    figure: 'ms to the first token',
    isRate: false,
    run: async (engine, round) => {
      const prefix = randomIds(PREFIX_TOKENS, round)
      const tailed = (seed: number) => ({
        promptIds: [...prefix, ...randomIds(32, seed)],
        maxTokens: 1,
      })
      await drain(engine, [tailed(900 + round)])
      await drain(engine, [{ promptIds: randomIds(PREFIX_TOKENS, 500 + round), maxTokens: 1 }])
      await written(engine)
      const { answers, firstTokenMs } = await drain(engine, [tailed(1900 + round)])
      return { value: firstTokenMs, answer: answers.join() }
    },
  },
}

/** Everything that was pushed out is on disk. */
async function written({ core }: LoadedEngine): Promise<void> {
  for (let last = -1; ; ) {
    const { numSavedBlocks = 0 } = core.stats().tier ?? {}
    if (numSavedBlocks === last) return
    last = numSavedBlocks
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
