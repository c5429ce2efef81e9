/** Puts a scheduler and a draft model together from what the executor can do and what the settings want. Owns nothing afterwards. */

import type { Clock } from '../base/clock.ts'
import { checkLimits } from './check-scheduler.ts'
import { ColdBlocks } from './cold-blocks.ts'
import { DraftModel } from './draft-model.ts'
import { engineError } from './errors.ts'
import type { Executor } from './executor.ts'
import { KvMoves } from './kv-moves.ts'
import type { KvTier } from './kv-tier.ts'
import { PrefixCache } from './prefix-cache.ts'
import { Scheduler } from './scheduler.ts'
import type { SchedulingOptions } from './scheduling-options.ts'

export interface SchedulerParts {
  readonly executor: Executor
  readonly clock: Clock
  readonly scheduling: SchedulingOptions
  readonly hashKey: readonly [number, number]
  readonly tier?: KvTier | null
}

export interface MadeScheduler {
  readonly scheduler: Scheduler
  /** Null where the executor cannot move blocks. */
  readonly moves: KvMoves | null
}

/** @throws ENGINE_BAD_LIMITS */
export function makeScheduler(parts: SchedulerParts): MadeScheduler {
  const { scheduling, hashKey, tier = null } = parts
  const { limits, kvBlocks, capabilities } = parts.executor
  checkLimits(limits)
  const moves = kvBlocks === null ? null : new KvMoves(kvBlocks, parts.clock)
  const hasCache = scheduling.prefixCache && capabilities.supportsPrefixReuse
  const hasTier = hasCache && tier !== null && moves !== null
  const cold = hasTier ? new ColdBlocks(tier, moves, limits.blockSize) : null
  const prefixCache = hasCache ? new PrefixCache(limits, hashKey, cold) : null
  const { targetItl, swapBytes = 0 } = scheduling
  const maxDraftTokens = capabilities.supportsDrafts ? scheduling.maxDraftTokens : 0
  const { promptLookup = true } = scheduling
  const policies = { prefixCache, targetItl, maxDraftTokens, promptLookup, moves, swapBytes, cold }
  return { scheduler: new Scheduler(limits, policies), moves }
}

/** A second model that guesses for the first one. */
export interface DraftParts {
  readonly executor: Executor
  readonly maxContextTokens: number
  /** Hears why there will be no more guesses. */
  readonly onFailure: (reason: string) => void
}

export interface DraftedParts extends SchedulerParts {
  readonly draft?: DraftParts | null
}

/**
 * Null where there is none, or no guess is wanted.
 *
 * @throws ENGINE_DRAFT_UNUSABLE when one of the two models cannot guess or be guessed for, or their vocabularies differ
 */
export function makeDraftModel(parts: DraftedParts, scheduler: Scheduler): DraftModel | null {
  const { draft = null, executor, clock, scheduling } = parts
  const { maxDraftTokens: most, promptLookup: looksUp = true } = scheduling
  if (draft === null || most === 0) return null
  checkDraft(executor, draft.executor)
  return new DraftModel({ ...draft, clock, targetCosts: scheduler.costModel, most, looksUp })
}

function checkDraft({ limits, capabilities }: Executor, draft: Executor): void {
  const refuse = (reason: string, next: string) =>
    engineError('ENGINE_DRAFT_UNUSABLE', { details: { reason, next } })
  if (!capabilities.supportsDrafts)
    throw refuse('the model cannot take guesses back', 'serve it without a draft model')
  if (!draft.capabilities.supportsDrafts)
    throw refuse('the draft model cannot take guesses back', 'use a checkpoint of tensors for it')
  const [wanted, got] = [limits.vocabSize, draft.limits.vocabSize]
  if (got !== wanted) {
    const reason = `it has ${got} tokens in its vocabulary, the model has ${wanted}`
    throw refuse(reason, 'use a smaller model of the same family, or none')
  }
  if (draft.limits.maxNumSeqs < limits.maxNumSeqs)
    throw refuse('it has places for fewer sequences', 'give both the same maximum')
}
