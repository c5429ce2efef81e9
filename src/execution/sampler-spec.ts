/** `SamplingParams` in the native sampler's words and typed arrays. Decides nothing: every field has one target. */

import type { NativeSamplerSpec } from '../../native/binding.ts'
import type { SamplingParams } from '../sampling/sampling-params.ts'

/** Tokens that penalties and `minTokens` count: what came in, and what was drawn before a preemption. */
export interface SequenceTokens {
  readonly choice: number
  readonly promptIds: Int32Array
  readonly outputIds: Int32Array
}

/**
 * Limits such as `maxTokens` and reports such as `topLogprobs` are the engine's, not the sampler's.
 *
 * Cost: O(stop ids + logit bias); once for a sequence and after each preemption.
 */
export function samplerSpec(params: SamplingParams, tokens: SequenceTokens): NativeSamplerSpec {
  const logitBiasIds = new Int32Array(params.logitBias.length)
  const logitBiasValues = new Float32Array(params.logitBias.length)
  params.logitBias.forEach(([tokenId, bias], index) => {
    logitBiasIds[index] = tokenId
    logitBiasValues[index] = bias
  })
  return {
    temperature: params.temperature,
    topP: params.topP,
    topK: params.topK,
    minP: params.minP,
    presencePenalty: params.presencePenalty,
    frequencyPenalty: params.frequencyPenalty,
    repetitionPenalty: params.repetitionPenalty,
    seed: params.seed,
    choice: tokens.choice,
    stopTokenIds: Int32Array.from(params.stopTokenIds),
    minTokens: params.minTokens,
    logitBiasIds,
    logitBiasValues,
    promptIds: tokens.promptIds,
    outputIds: tokens.outputIds,
  }
}
