/** What the engine refuses or reports. `param` of a raised error is the neutral name of a sampling parameter. */

import { defineErrors, type ServingError, type ServingErrorOptions } from '../base/errors.ts'

export const engineError: (
  code:
    | 'ENGINE_BAD_LIMITS'
    | 'ENGINE_EMPTY_PROMPT'
    | 'ENGINE_CONTEXT_TOO_LONG'
    | 'ENGINE_SEQUENCE_NEVER_FITS'
    | 'ENGINE_TOKEN_OUT_OF_RANGE'
    | 'ENGINE_ADAPTER_NOT_LOADED'
    | 'ENGINE_BAD_LOGITS'
    | 'ENGINE_DRAFT_UNUSABLE'
    | 'ENGINE_STEP_FAILED'
    | 'ENGINE_SAMPLER_REFUSED'
    | 'ENGINE_QUEUE_TOO_LONG'
    | 'ENGINE_QUEUE_TIMEOUT',
  options?: ServingErrorOptions,
) => ServingError = defineErrors('engine', {
  ENGINE_BAD_LIMITS: {
    status: 500,
    retryable: false,
    message: 'expected {expected}, got {got}: change {change}',
  },
  ENGINE_EMPTY_PROMPT: {
    status: 400,
    retryable: false,
    message: 'expected a prompt of at least 1 token, got none: send some text or token ids',
  },
  ENGINE_CONTEXT_TOO_LONG: {
    status: 400,
    retryable: false,
    message:
      'expected a prompt of at most {maxPromptTokens} tokens (the context is {maxContextTokens} and an answer needs 1), got {promptTokens}: shorten the prompt',
  },
  ENGINE_SEQUENCE_NEVER_FITS: {
    status: 400,
    retryable: false,
    message:
      'expected prompt and maximum answer to fit in {numBlocks} KV blocks of {blockSize} tokens, got {promptTokens} + {maxTokens} tokens: ask for fewer tokens, or serve with more KV memory',
  },
  ENGINE_TOKEN_OUT_OF_RANGE: {
    status: 400,
    retryable: false,
    message:
      'expected token ids of 0 to {maxTokenId} in {where}, got {tokenId}: use ids of this model',
  },
  ENGINE_ADAPTER_NOT_LOADED: {
    status: 503,
    retryable: false,
    message:
      'expected the adapter in slot {slot} to be loaded, but the engine does not hold it: its files could not be read again after a restart, and the log says why; unload it and load it again',
  },
  ENGINE_DRAFT_UNUSABLE: {
    status: 400,
    retryable: false,
    message:
      'expected a draft model that can guess the tokens of the model, got one that cannot ({reason}): {next}',
  },
  ENGINE_BAD_LOGITS: {
    status: 500,
    retryable: false,
    message:
      'expected logits to draw from at position {position}, got NaN or nothing but -inf: check the weights, or lower the logit biases',
  },
  ENGINE_STEP_FAILED: {
    status: 500,
    retryable: true,
    message: 'expected the step to be computed, but the executor failed ({reason}): try again',
  },
  ENGINE_QUEUE_TOO_LONG: {
    status: 429,
    retryable: true,
    message:
      'expected to begin within {maxQueueMs} ms, as the request asks, but about {waitMs} ms of work wait before it: try again in {retryAfterSeconds} s, or allow a longer wait',
  },
  ENGINE_QUEUE_TIMEOUT: {
    status: 429,
    retryable: true,
    message:
      'expected to begin within the time that the request allows, but it waited {waitedMs} ms and others were still before it: try again in {retryAfterSeconds} s, or allow a longer wait',
  },
  ENGINE_SAMPLER_REFUSED: {
    status: 500,
    retryable: false,
    message:
      'expected the sampler to take the parameters, but it refused ({reason}): change the parameters',
  },
})
