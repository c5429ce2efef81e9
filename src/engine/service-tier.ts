/** Who goes first when not all can: ranks of service tiers. Names are the engine's; dialects translate theirs. */

export type ServiceTier = 'priority' | 'default' | 'flex'

/** Smaller goes first, and is preempted last. */
export const TIER_RANK: Readonly<Record<ServiceTier, number>> = { priority: 0, default: 1, flex: 2 }
export const NUM_TIERS = 3
