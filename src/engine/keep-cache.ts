/** Saves what would be lost with the process: cached blocks that lie in memory only. Owns nothing. */

import type { Clock } from '../base/clock.ts'
import type { KvTier } from './kv-tier.ts'
import type { Scheduler } from './scheduler.ts'

/**
 * What was used last goes first; of one chain that is its beginning, without which the rest is of no use.
 *
 * @param untilMs - of the clock; what is left then is lost
 */
export async function keepCache(
  { pool, reuse }: Scheduler,
  tier: KvTier,
  clock: Clock,
  untilMs: number,
): Promise<void> {
  for (const id of pool.youngestCached()) {
    await tier.hasRoom()
    if (clock.nowMs() >= untilMs) return
    reuse.keep(id)
  }
}
