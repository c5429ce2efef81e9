/** What a scheduler is made of besides its limits. Every part may be missing; none changes an answer. */

import type { ColdBlocks } from './cold-blocks.ts'
import type { KvMoves } from './kv-moves.ts'
import type { PrefixCache } from './prefix-cache.ts'
import type { TargetItl } from './scheduling-options.ts'

export interface SchedulerOptions {
  /** null = every token is computed. */
  readonly prefixCache?: PrefixCache | null
  readonly targetItl?: TargetItl
  /** Guesses for one sequence in a step; 0 = none. */
  readonly maxDraftTokens?: number
  /** Whether guesses come from text that repeats itself. */
  readonly promptLookup?: boolean
  /** null = no block is copied, swapped or restored. */
  readonly moves?: KvMoves | null
  /** Host memory for KV of those that are put out. */
  readonly swapBytes?: number
  /** The way from the prefix cache to the tier. */
  readonly cold?: ColdBlocks | null
}
