/**
 * Comparisons with one name each: a model file that all systems read, the trials, and what Ingot is meant to reach there.
 * Data; measures nothing.
 */

import { type BatchTrial, BRIEF_TRIALS, LONGEST_PROMPT, TARGET_TRIALS } from './trials.ts'

/** At least `ratio` times the best peer's median at `trial`. */
export interface RatioTarget {
  readonly trial: string
  readonly ratio: number
}

/** At least `share` of a physical limit, 0 … 1, at `trial`. */
export interface LimitTarget {
  readonly trial: string
  readonly limit: 'memory' | 'vnni'
  readonly share: number
}

export interface Preset {
  readonly name: string
  readonly question: string
  /** A file in the peers' folder, or a model of the catalog. */
  readonly model: { readonly file: string } | { readonly catalog: string }
  /** The format that peers read, for the record. */
  readonly weights: string
  /** A folder of onnxruntime-genai with the same weights; absent = that peer is skipped. */
  readonly onnxFolder?: string
  /** In the peers' folder: the same values in a format that OpenVINO reads, where it cannot read the model's own. */
  readonly openvinoFile?: string
  readonly trials: readonly BatchTrial[]
  readonly ratios: readonly RatioTarget[]
  readonly limits: readonly LimitTarget[]
}

const PARITY: readonly RatioTarget[] = BRIEF_TRIALS.map(({ name }) => ({ trial: name, ratio: 1 }))

/** What is promised at 4 bits. */
export const TARGETS: Preset = {
  name: 'targets',
  question: 'SmolLM2-135M at 4 bits beside every peer, at every shape that has a target',
  model: { file: 'smollm2-q4_0.gguf' },
  weights: 'Q4_0, head too',
  onnxFolder: 'smollm2-int4-onnx',
  trials: TARGET_TRIALS,
  ratios: [
    { trial: 'decode-1', ratio: 1.5 },
    { trial: 'decode-4', ratio: 2.2 },
    { trial: 'decode-16', ratio: 2 },
    { trial: 'decode-32', ratio: 2 },
    { trial: 'prefill-512', ratio: 1.5 },
    { trial: 'prefill-4096', ratio: 1.3 },
    { trial: `decode-1-ctx${LONGEST_PROMPT}`, ratio: 1.3 },
  ],
  limits: [
    { trial: 'decode-1', limit: 'memory', share: 0.8 },
    { trial: 'decode-32', limit: 'vnni', share: 0.55 },
    { trial: 'prefill-512', limit: 'vnni', share: 0.55 },
  ],
}

export const PRESETS: readonly Preset[] = [
  TARGETS,
  {
    name: '8-bit',
    question: 'SmolLM2-135M in Q8_0: ahead of every peer at every point',
    model: { file: 'smollm2-q8_0.gguf' },
    weights: 'Q8_0, head too',
    trials: BRIEF_TRIALS,
    ratios: PARITY,
    limits: [],
  },
  {
    name: 'bf16',
    question: 'SmolLM2-135M in bf16: ahead of every peer at every point',
    model: { file: 'smollm2-bf16.gguf' },
    weights: 'BF16 (OpenVINO: F16), head too',
    openvinoFile: 'smollm2-f16.gguf',
    trials: BRIEF_TRIALS,
    ratios: PARITY,
    limits: [],
  },
  {
    name: 'gemma',
    question:
      'Gemma 3 270M in Q4_K_M, mixed formats and a head of 262,144 words: ahead of every peer',
    model: { catalog: 'gemma-3-270m' },
    weights: 'Q4_K_M as published',
    trials: BRIEF_TRIALS,
    ratios: PARITY,
    limits: [],
  },
]

/** @throws Error that names the presets there are */
export function findPreset(name: string): Preset {
  const preset = PRESETS.find((known) => known.name === name)
  if (preset !== undefined) return preset
  throw new Error(`unknown preset "${name}"; known: ${PRESETS.map((one) => one.name).join(', ')}`)
}
