/**
 * What KV that is moved instead of computed is worth on the real model, for `policies.ts`: both sides have the same, too
 * small KV memory.
 *
 *   swap       how long a stream of 2,000 tokens stands still for a request of a higher tier that needs its memory
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
import { add, drain } from './policy-runs.ts'
import { randomIds } from './statistics.ts'

export const KV_POLICIES = ['swap', 'disk-tier'] as const
export type KvPolicyName = (typeof KV_POLICIES)[number]

export interface KvSides {
  readonly without: EngineOptions
  readonly with: EngineOptions
  /** Remove what was written. */
  end(): void
}

const PREFIX_TOKENS = 2000
const URGENT_TOKENS = 400

export async function kvSides(policy: KvPolicyName, options: EngineOptions): Promise<KvSides> {
  const { kvBytesPerToken } = await readModelFacts(options.checkpointPath)
  const bytesPerToken = kvBytesPerToken(options.kvDtype)
  if (policy === 'swap') {
    const kvMemoryBytes = (PREFIX_TOKENS + 160) * bytesPerToken
    const small = { ...options, kvMemoryBytes, maxContextTokens: PREFIX_TOKENS + 128 }
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
    figure: 'ms that the stream stood still',
    isRate: false,
    run: async (engine, round) => {
      const stream = {
        promptIds: randomIds(PREFIX_TOKENS, round),
        maxTokens: 16,
        tier: 'flex',
      } as const
      const urgent = { promptIds: randomIds(URGENT_TOKENS, 500 + round), maxTokens: 1 }
      // The oldest of the highest tier that runs is never put out: it takes another one beside the stream.
      const companion = { promptIds: randomIds(8, round), maxTokens: 80, tier: 'priority' } as const
      const [id] = add(engine, [stream, companion])
      const tokenIds: number[] = []
      const { numPreemptions } = engine.core.stats()
      let [lastMs, longestMs, isUrgentThere] = [Number.POSITIVE_INFINITY, 0, false]
      while (engine.core.hasWork) {
        if (tokenIds.length === 8 && !isUrgentThere) {
          add(engine, [{ ...urgent, tier: 'priority' }])
          isUrgentThere = true
        }
        for (const update of (await engine.core.step()).updates) {
          if (update.id !== id) continue
          tokenIds.push(...update.tokenIds)
          longestMs = Math.max(longestMs, performance.now() - lastMs)
          lastMs = performance.now()
        }
      }
      if (engine.core.stats().numPreemptions !== numPreemptions + 1)
        throw new Error('the stream was not put out')
      return { value: longestMs, answer: tokenIds.join() }
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
