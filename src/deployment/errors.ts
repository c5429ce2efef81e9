/**
 * Why a request is not taken, or a model cannot be served. `REQUEST_*` are the caller's to mend, `DEPLOYMENT_*` ours or
 * time's. `param` of a request error is the neutral name of the input; dialects put their own word in.
 */

import { defineErrors, type ServingError, type ServingErrorOptions } from '../base/errors.ts'

const table = {
  REQUEST_CONTEXT_TOO_LONG: {
    status: 400,
    retryable: false,
    message:
      'this model’s maximum context length is {maxContextTokens} tokens, but {promptTokens} tokens of prompt{answer} were asked for; shorten the prompt or ask for fewer tokens, nothing is truncated',
  },
  REQUEST_EMPTY_PROMPT: {
    status: 400,
    retryable: false,
    message: 'expected a prompt of at least one token, got none; send some text or token ids',
  },
  REQUEST_TOKEN_OUT_OF_RANGE: {
    status: 400,
    retryable: false,
    message:
      'expected token ids to be integers from 0 to {maxTokenId}, got {got} at position {position}; use this model’s own tokenizer',
  },
  REQUEST_TOO_MANY_CHOICES: {
    status: 400,
    retryable: false,
    message:
      'expected at most {limit} choices in one request, because that many sequences run or wait at once, got {got}; ask for fewer',
  },
  REQUEST_ROUTING_UNMET: {
    status: 400,
    retryable: false,
    message:
      'nothing that serves "{model}" meets {param}: {reason}; leave it out or ask for what is there',
  },
  DEPLOYMENT_UNKNOWN_MODEL: {
    status: 404,
    retryable: false,
    message: 'the model "{model}" is not served here; served: {served}',
  },
  DEPLOYMENT_DRAFT_UNUSABLE: {
    status: 400,
    retryable: false,
    message:
      'expected a draft model whose tokens are the model’s, but "{draft}" cannot guess for it: {reason}; {next}',
  },
  DEPLOYMENT_OVERLOADED: {
    status: 429,
    retryable: true,
    message:
      'the queue of "{model}" is full: {numActive} sequences run or wait and {capacity} may; try again in {retryAfterSeconds} s',
  },
  DEPLOYMENT_NOT_READY: {
    status: 503,
    retryable: true,
    message: '"{model}" is not ready: {reason}; try again in {retryAfterSeconds} s',
  },
  DEPLOYMENT_NAME_CREATED: {
    status: 409,
    retryable: false,
    message:
      'expected the configuration file to declare no "{name}", which {who} created over the API at {time}; call it otherwise in the file, or delete the other first',
  },
  DEPLOYMENT_BAD_DECLARATION: {
    status: 409,
    retryable: false,
    message: 'expected {path} to be {expected}, got {got}{hint}; nothing was changed',
  },
  DEPLOYMENT_STOPPED: {
    status: 503,
    retryable: false,
    message:
      '"{model}" takes no requests: {reason}; start it with PATCH /v1/endpoints or ingot endpoints start',
  },
  DEPLOYMENT_DRAINING: {
    status: 503,
    retryable: true,
    message: '"{model}" takes no new requests because {reason}',
  },
  DEPLOYMENT_LOAD_FAILED: {
    status: 503,
    retryable: true,
    message:
      '"{model}" could not be loaded: {reason}; it may be tried again in {retryAfterSeconds} s',
  },
  DEPLOYMENT_NEVER_FITS: {
    status: 422,
    retryable: false,
    message:
      '"{model}" can never be loaded: {arithmetic}, and {limit}; choose smaller weights or a shorter context, or raise the memory budget',
  },
  DEPLOYMENT_UNKNOWN_ENDPOINT: {
    status: 404,
    retryable: false,
    message: 'there is no endpoint "{name}"; there are: {known}',
  },
  DEPLOYMENT_NAME_TAKEN: {
    status: 409,
    retryable: false,
    message: 'the name "{name}" is taken by {by}; choose another or remove that first',
  },
  DEPLOYMENT_PINNED: {
    status: 409,
    retryable: false,
    message: '"{name}" is kept loaded ({reason}); change that first, or stop it',
  },
  DEPLOYMENT_NOT_STORED: {
    status: 409,
    retryable: false,
    message:
      'the weights of "{name}" are not in the store yet, so nothing is known of their size; fetch them with ingot pull {source}',
  },
  DEPLOYMENT_BAD_ENDPOINT: {
    status: 400,
    retryable: false,
    message: 'endpoint "{name}": expected {expected}, got {got}; correct it and send it again',
  },
  DEPLOYMENT_NOTHING_TO_RELOAD: {
    status: 409,
    retryable: false,
    message:
      'this server was started with one model and declares no endpoints in a configuration file, so there is nothing to read again; restart it with one',
  },
  DEPLOYMENT_KV_MEMORY_TOO_SMALL: {
    status: 500,
    retryable: false,
    message:
      'expected memory for at least {minTokens} tokens of keys and values ({needed}), got {got} ({reason}); {next}',
  },
  DEPLOYMENT_BAD_TOKENIZER_FILE: {
    status: 422,
    retryable: false,
    message: '{file}: expected {expected}, got {got}; fetch the file again or correct it',
  },
  DEPLOYMENT_EXPORTED_SETTING: {
    status: 422,
    retryable: false,
    message:
      '{file}: expected {param} {expected}, for an exported graph computes as it was exported, got {got}; leave {param} away, or give the path of another .onnx file or of a safetensors folder',
  },
  DEPLOYMENT_CONTEXT_TOO_LARGE: {
    status: 500,
    retryable: false,
    message:
      'expected --max-context of at most {limit}, which is what {limitedBy}, got {got}; lower it',
  },
} as const

export type DeploymentErrorCode = keyof typeof table

export const deploymentError: (
  code: DeploymentErrorCode,
  options?: ServingErrorOptions,
) => ServingError = defineErrors('deployment', table)
