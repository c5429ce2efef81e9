/**
 * Which run of the graph computes which row, as arithmetic on positions (D5).
 *
 * Stock kernels choose their way by the number of rows, and quantized graphs scale over all rows of a run, so a row's
 * bits depend on the run it is in. Therefore that run is a function of the row's position and of the prompt's length
 * alone, never of the scheduler's chunks or of who shares the step:
 *
 *   segments   [0, n) [n, 2n) … [kn, P)   P  P+1 …     prompt in runs at absolute boundaries, then one row a run
 *   together   [0, min(P, n))  n  n+1 …   P  P+1 …     for graphs that can take several rows only without a past
 *   single     0  1  2 …                  P  P+1 …     for graphs of one row
 */

export interface PromptCalls {
  readonly kind: 'segments' | 'together' | 'single'
  /** n above; 1 for `single`. */
  readonly maxTokens: number
}

export interface GraphCall {
  /** First position that it computes. */
  readonly start: number
  /** Behind the last one. */
  readonly end: number
}

export const SINGLE_CALLS: PromptCalls = { kind: 'single', maxTokens: 1 }

/** The run that computes `position`. */
export function callAt(position: number, numPromptTokens: number, calls: PromptCalls): GraphCall {
  const { kind, maxTokens } = calls
  if (position < numPromptTokens && kind === 'segments') {
    const start = position - (position % maxTokens)
    return { start, end: Math.min(start + maxTokens, numPromptTokens) }
  }
  const end = Math.min(maxTokens, numPromptTokens)
  if (position < end && kind === 'together') return { start: 0, end }
  return { start: position, end: position + 1 }
}
