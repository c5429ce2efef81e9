/** Token counts in OpenAI's shape, summed over the prompts of one request. */

import type { GenerationUsage } from '../../../deployment/generation.ts'

export interface UsageBody {
  readonly prompt_tokens: number
  readonly completion_tokens: number
  readonly total_tokens: number
  readonly prompt_tokens_details: { readonly cached_tokens: number }
  readonly completion_tokens_details: {
    readonly reasoning_tokens: number
    /** Guessed by the engine: right ones are among completion_tokens, wrong ones are not counted there. */
    readonly accepted_prediction_tokens: number
    readonly rejected_prediction_tokens: number
  }
}

export class UsageSum {
  #promptTokens = 0
  #cachedTokens = 0
  #completionTokens = 0
  #acceptedTokens = 0
  #rejectedTokens = 0

  add(usage: GenerationUsage): void {
    this.#promptTokens += usage.promptTokens
    this.#cachedTokens += usage.cachedPromptTokens
    this.#completionTokens += usage.completionTokens
    this.#acceptedTokens += usage.acceptedDraftTokens
    this.#rejectedTokens += usage.rejectedDraftTokens
  }

  /** @param hasAnswer - false when the caller asked for no answer (`max_tokens` 0), although a token was computed */
  body(hasAnswer = true): UsageBody {
    const completionTokens = hasAnswer ? this.#completionTokens : 0
    return {
      prompt_tokens: this.#promptTokens,
      completion_tokens: completionTokens,
      total_tokens: this.#promptTokens + completionTokens,
      prompt_tokens_details: { cached_tokens: this.#cachedTokens },
      completion_tokens_details: {
        reasoning_tokens: 0,
        accepted_prediction_tokens: this.#acceptedTokens,
        rejected_prediction_tokens: this.#rejectedTokens,
      },
    }
  }
}
