/** Waiting as a dependency: supervision takes a `Timer`, tests hand it one that moves by hand. Owns nothing. */

export interface Timer {
  /** Call once after `milliseconds`; what comes back calls it off, also when it is too late. */
  after(milliseconds: number, call: () => void): () => void
}

export const systemTimer: Timer = {
  after: (milliseconds, call) => {
    const handle = setTimeout(call, milliseconds)
    return () => clearTimeout(handle)
  },
}
