/** Runs sequences through a real engine in this process and collects, for each, everything that a client could see. */

import type { SequenceId } from '../../src/base/ids.ts'
import { type LoadedEngine, loadEngine } from '../../src/worker/load-engine.ts'
import type {
  EngineOptions,
  LogprobEntry,
  SequenceFinish,
  SequenceSpec,
} from '../../src/worker/messages.ts'

export interface Answer {
  readonly tokenIds: number[]
  readonly logprobs: LogprobEntry[]
  readonly promptLogprobs: LogprobEntry[]
  finish: SequenceFinish | null
}

export interface EngineRun {
  readonly answers: Map<SequenceId, Answer>
  readonly numPreemptions: number
  readonly numSteps: number
  readonly numCachedTokens: number
  readonly numDraftTokens: number
  readonly numAcceptedDrafts: number
}

/** What running sequences needs of an engine. */
export type RunningEngine = Pick<LoadedEngine, 'core'> & Partial<Pick<LoadedEngine, 'tier'>>

/** All sequences at once, or as many as `arrivals` says before each step. */
export async function runSequences(
  engine: RunningEngine,
  specs: readonly SequenceSpec[],
  arrivals: (step: number) => number = () => specs.length,
): Promise<EngineRun> {
  const { core } = engine
  const answers = new Map<SequenceId, Answer>()
  const before = core.stats()
  let numAdded = 0
  let numCachedTokens = 0
  for (let step = 0; numAdded < specs.length || core.hasWork; step++) {
    for (const spec of specs.slice(numAdded, numAdded + arrivals(step))) {
      core.add(spec)
      answers.set(spec.id, { tokenIds: [], logprobs: [], promptLogprobs: [], finish: null })
      numAdded += 1
    }
    if (!core.hasWork) continue
    for (const update of (await core.step()).updates) {
      const answer = answers.get(update.id)!
      answer.tokenIds.push(...update.tokenIds)
      answer.logprobs.push(...(update.logprobs ?? []))
      answer.promptLogprobs.push(...(update.promptLogprobs ?? []))
      answer.finish = update.finish ?? answer.finish
      if (update.finish !== null) numCachedTokens += update.timing?.numCachedTokens ?? 0
      if (update.error !== null) throw new Error(update.error.message)
    }
  }
  core.checkIntegrity()
  const { numPreemptions, numSteps, numFreeBlocks, numBlocks } = core.stats()
  if (numFreeBlocks !== numBlocks) throw new Error(`${numBlocks - numFreeBlocks} blocks leaked`)
  return {
    answers,
    numPreemptions: numPreemptions - before.numPreemptions,
    numSteps: numSteps - before.numSteps,
    numCachedTokens,
    numDraftTokens: core.stats().numDraftTokens - before.numDraftTokens,
    numAcceptedDrafts: core.stats().numAcceptedDrafts - before.numAcceptedDrafts,
  }
}

/** Load, run, and free again whatever happens. */
export async function withEngine<T>(
  options: EngineOptions,
  use: (engine: LoadedEngine) => Promise<T>,
): Promise<T> {
  const engine = await loadEngine(options)
  try {
    return await use(engine)
  } finally {
    await engine.close()
  }
}
