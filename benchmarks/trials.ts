/** The trials, as data: what is asked, at which shape. Nothing here measures. */

export interface BatchTrial {
  readonly name: string
  readonly question: string
  readonly numSeqs: number
  readonly promptTokens: number
  readonly outputTokens: number
  /** Which of the two figures answers the question. */
  readonly figure: 'decode' | 'prefill'
}

const decode = (numSeqs: number, promptTokens = 128, outputTokens = 64): BatchTrial => ({
  name: `decode-${numSeqs}${promptTokens === 128 ? '' : `-ctx${promptTokens}`}`,
  question: `tokens per second of ${numSeqs} sequences decoding after a prompt of ${promptTokens}`,
  numSeqs,
  promptTokens,
  outputTokens,
  figure: 'decode',
})

const prefill = (promptTokens: number, numSeqs = 1): BatchTrial => ({
  name: `prefill-${promptTokens}${numSeqs === 1 ? '' : `x${numSeqs}`}`,
  question: `prompt tokens per second of ${numSeqs} prompt(s) of ${promptTokens}`,
  numSeqs,
  promptTokens,
  outputTokens: 1,
  figure: 'prefill',
})

/** The first record: what the foundation promises to print. */
export const THROUGHPUT_TRIALS: readonly BatchTrial[] = [
  decode(1),
  decode(4),
  decode(16),
  decode(32),
  prefill(128),
  prefill(512),
  prefill(128, 4),
  prefill(128, 16),
  prefill(128, 32),
]

/** Long contexts and large batches, for the comparison with peers. */
export const LONG_TRIALS: readonly BatchTrial[] = [
  decode(64),
  decode(1, 2048),
  decode(1, 8000),
  prefill(4096),
]

export const ALL_TRIALS: readonly BatchTrial[] = [...THROUGHPUT_TRIALS, ...LONG_TRIALS]
