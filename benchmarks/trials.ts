/** The trials, as data: what is asked, at which shape. Nothing here measures. */

export interface BatchTrial {
  readonly name: string
  readonly question: string
  readonly numSeqs: number
  readonly promptTokens: number
  readonly outputTokens: number
  /** A prompt of this many tokens is added when every sequence has its first token; absent = none. */
  readonly latePromptTokens?: number
  /** Which figure answers the question: output tokens, prompt tokens, or both from the late prompt on. */
  readonly figure: 'decode' | 'prefill' | 'mixed'
  /** Seconds rather than fractions of one: measured in two rounds at most, and not in the warm-up. */
  readonly isLong: boolean
}

const decode = (numSeqs: number, promptTokens = 128, outputTokens = 64): BatchTrial => ({
  name: `decode-${numSeqs}${promptTokens === 128 ? '' : `-ctx${promptTokens}`}`,
  question: `tokens per second of ${numSeqs} sequences decoding after a prompt of ${promptTokens}`,
  numSeqs,
  promptTokens,
  outputTokens,
  figure: 'decode',
  isLong: numSeqs * promptTokens > 4096,
})

const prefill = (promptTokens: number, numSeqs = 1): BatchTrial => ({
  name: `prefill-${promptTokens}${numSeqs === 1 ? '' : `x${numSeqs}`}`,
  question: `prompt tokens per second of ${numSeqs} prompt(s) of ${promptTokens}`,
  numSeqs,
  promptTokens,
  outputTokens: 1,
  figure: 'prefill',
  isLong: numSeqs * promptTokens >= 4096,
})

const mixed = (numSeqs: number, latePromptTokens: number): BatchTrial => ({
  name: `mixed-${numSeqs}+${latePromptTokens}`,
  question: `tokens per second, prompt and output, of ${numSeqs} sequences decoding while a prompt of ${latePromptTokens} is computed`,
  numSeqs,
  promptTokens: 128,
  outputTokens: 64,
  latePromptTokens,
  figure: 'mixed',
  isLong: false,
})

/** A context of 8,192: the longest prompt whose answer still fits SmolLM2's limit of 8,192. */
export const LONGEST_PROMPT = 8000

/** What `npm run bench` measures unless told otherwise. */
export const THROUGHPUT_TRIALS: readonly BatchTrial[] = [
  decode(1),
  decode(4),
  decode(16),
  decode(32),
  prefill(128),
  prefill(512),
]

/** The shapes that targets are stated for, at 4 bits. */
export const TARGET_TRIALS: readonly BatchTrial[] = [
  ...THROUGHPUT_TRIALS,
  decode(64),
  mixed(16, 1024),
  decode(1, 2048),
  prefill(4096),
  decode(1, LONGEST_PROMPT),
]

/** Shorter, for the other formats and models: one of each kind. */
export const BRIEF_TRIALS: readonly BatchTrial[] = [
  decode(1),
  decode(4),
  decode(16),
  decode(32),
  prefill(512),
]

export const ALL_TRIALS: readonly BatchTrial[] = [
  ...TARGET_TRIALS,
  prefill(128, 4),
  prefill(128, 16),
  prefill(128, 32),
]

/** @throws Error that names the trials there are */
export function chooseTrials(names: string): readonly BatchTrial[] {
  if (names === 'all') return ALL_TRIALS
  return names.split(',').map((name) => {
    const trial = ALL_TRIALS.find((known) => known.name === name)
    if (trial !== undefined) return trial
    throw new Error(
      `unknown trial "${name}"; known: ${ALL_TRIALS.map((known) => known.name).join(', ')}`,
    )
  })
}
