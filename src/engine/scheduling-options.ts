/** How one replica schedules: the settings of the engine's policies, all decided. None of them changes an answer. */

/** Wanted milliseconds between two tokens of a stream; `auto` = as the machine allows, `off` = whatever a step takes. */
export type TargetItl = number | 'auto' | 'off'

export interface SchedulingOptions {
  /** Keep KV of full blocks and find it again. */
  readonly prefixCache: boolean
  readonly targetItl: TargetItl
  /** Tokens guessed for a sequence in a step at most; 0 = none. */
  readonly maxDraftTokens: number
  /** Whether text that repeats itself is guessed from; absent = yes. */
  readonly promptLookup?: boolean
  /** Host memory for KV of sequences that are put out; absent or 0 = none, their KV is computed again. */
  readonly swapBytes?: number
}

/** Every policy off: each token is computed, as soon as the fixed limits allow. What comparisons start from. */
export const PLAIN_SCHEDULING: SchedulingOptions = Object.freeze({
  prefixCache: false,
  targetItl: 'off',
  maxDraftTokens: 0,
})
