/** Drives a loaded engine step by step and takes times. Owns nothing but the next id. */

import type { SequenceId } from '../src/base/ids.ts'
import type { ServiceTier } from '../src/engine/service-tier.ts'
import { DEFAULT_SAMPLING_PARAMS } from '../src/sampling/sampling-params.ts'
import type { LoadedEngine } from '../src/worker/load-engine.ts'

export interface PolicyPrompt {
  readonly promptIds: readonly number[]
  readonly maxTokens: number
  /** Default: `default`. */
  readonly tier?: ServiceTier
}

let nextId = 1

/** Greedy, past end-of-sequence tokens. @returns the ids */
export function add({ core }: LoadedEngine, prompts: readonly PolicyPrompt[]): number[] {
  return prompts.map(({ promptIds, maxTokens, tier }) => {
    const id = nextId++
    core.add({
      id: id as SequenceId,
      promptIds: Int32Array.from(promptIds),
      params: { ...DEFAULT_SAMPLING_PARAMS, temperature: 0, ignoreEos: true, seed: 1n, maxTokens },
      choice: 0,
      cacheDomain: new Int32Array(4),
      tier: tier ?? 'default',
      tenant: 'bench',
      maxQueueMs: null,
    })
    return id
  })
}

/** Run until nothing is left to do. `answers` in the order they came, `texts` in that of the prompts. */
export async function drain(
  engine: LoadedEngine,
  prompts: readonly PolicyPrompt[],
): Promise<{ answers: number[]; texts: string[]; firstTokenMs: number; totalMs: number }> {
  const startMs = performance.now()
  const texts = new Map(add(engine, prompts).map((id) => [id, '']))
  const answers: number[] = []
  let firstTokenMs = 0
  while (engine.core.hasWork) {
    const { updates } = await engine.core.step()
    for (const update of updates) {
      if (update.error !== null) throw new Error(update.error.message)
      answers.push(...update.tokenIds)
      texts.set(update.id, `${texts.get(update.id)} ${update.tokenIds.join(' ')}`)
    }
    if (firstTokenMs === 0 && answers.length > 0) firstTokenMs = performance.now() - startMs
  }
  return { answers, texts: [...texts.values()], firstTokenMs, totalMs: performance.now() - startMs }
}

/** Milliseconds of each step until `isDone`: the gap between two tokens of every stream. */
export async function gapsUntil(
  engine: LoadedEngine,
  isDone: (numSteps: number, ended: ReadonlySet<number>) => boolean,
): Promise<number[]> {
  const gaps: number[] = []
  const ended = new Set<number>()
  let lastMs = performance.now()
  while (!isDone(gaps.length, ended)) {
    const { updates } = await engine.core.step()
    for (const { id, finish } of updates) if (finish !== null) ended.add(id)
    const nowMs = performance.now()
    gaps.push(nowMs - lastMs)
    lastMs = nowMs
  }
  return gaps
}
