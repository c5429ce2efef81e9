/**
 * What a request wishes of the sampler: frozen, validated once at the door, in no dialect's words.
 * Does not know token strings, batches or the native sampler's layout.
 */

export interface SamplingParams {
  /** 0 = greedy; 0 ≤ t ≤ 2. */
  readonly temperature: number
  /** 0 < p ≤ 1; 1 = off. */
  readonly topP: number
  /** 0 = off. */
  readonly topK: number
  /** 0 ≤ p ≤ 1; 0 = off. */
  readonly minP: number
  /** -2 … 2, on generated tokens, as OpenAI. */
  readonly presencePenalty: number
  readonly frequencyPenalty: number
  /** > 0, on prompt and generated tokens; 1 = off. */
  readonly repetitionPenalty: number
  /** Unsigned 64 bits; drawn by the server when the request names none, and always recorded. */
  readonly seed: bigint
  /** Tokens to generate at most; ≥ 1. */
  readonly maxTokens: number
  /** End-of-sequence and stop tokens are masked before this many tokens. */
  readonly minTokens: number
  /** Generate past the end-of-sequence tokens. */
  readonly ignoreEos: boolean
  /** Token ids that end the sequence besides the model's own. */
  readonly stopTokenIds: readonly number[]
  /** Added to raw logits; at most 1,024 entries, -100 … 100. */
  readonly logitBias: readonly (readonly [tokenId: number, bias: number])[]
  /** Alternatives reported per generated token, 0 … 20; `null` = no logprobs. Of raw logits, before any processor. */
  readonly topLogprobs: number | null
  /** The same for prompt tokens. */
  readonly promptLogprobs: number | null
}

export const MAX_TOP_LOGPROBS = 20

export const DEFAULT_SAMPLING_PARAMS: Omit<SamplingParams, 'seed' | 'maxTokens'> = Object.freeze({
  temperature: 1,
  topP: 1,
  topK: 0,
  minP: 0,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repetitionPenalty: 1,
  minTokens: 0,
  ignoreEos: false,
  stopTokenIds: Object.freeze([]),
  logitBias: Object.freeze([]),
  topLogprobs: null,
  promptLogprobs: null,
})
