/** Puts a scheduler together from what the executor can do and what the settings want. Owns nothing afterwards. */

import type { Clock } from '../base/clock.ts'
import { checkLimits } from './check-scheduler.ts'
import { ColdBlocks } from './cold-blocks.ts'
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
  const policies = { prefixCache, targetItl, maxDraftTokens, moves, swapBytes, cold }
  return { scheduler: new Scheduler(limits, policies), moves }
}
