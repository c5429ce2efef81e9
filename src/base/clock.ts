/** Time as a dependency: rooms take a `Clock`, tests hand them a manual one. Owns nothing. */

export interface Clock {
  /** Milliseconds of a monotonic clock; only differences mean anything. */
  nowMs(): number
  /** Milliseconds since 1970 of the wall clock; may jump. */
  wallMs(): number
}

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
}
