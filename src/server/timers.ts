/** Timers as a dependency, so that keep-alive and grace periods are tested without waiting. Owns nothing. */

export interface Timers {
  /** Call `callback` once, `delayMs` from now. Returns what takes it back; the timer keeps no process alive. */
  schedule(delayMs: number, callback: () => void): () => void
}

export const systemTimers: Timers = {
  schedule(delayMs, callback) {
    const timer = setTimeout(callback, delayMs)
    timer.unref()
    return () => clearTimeout(timer)
  },
}
