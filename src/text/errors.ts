/**
 * Errors of text: tokenizers that cannot be built (found when a model is loaded, 422) and texts, messages and stop
 * strings that cannot be taken (found per request, 400).
 */

import {
  defineErrors,
  type ErrorDefinition,
  type ServingError,
  type ServingErrorOptions,
} from '../base/errors.ts'

type LoadCode =
  | 'TEXT_BAD_TOKENIZER'
  | 'TEXT_UNSUPPORTED_TOKENIZER'
  | 'TEXT_UNKNOWN_PRE_TOKENIZER'
  | 'TEXT_NEEDS_TOKENIZER_JSON'
  | 'TEXT_TOKENIZER_TOO_LARGE'
  | 'TEXT_BAD_CHAT_TEMPLATE'

type RequestCode =
  | 'TEXT_TOO_LONG'
  | 'TEXT_ENCODE_FAILED'
  | 'TEXT_TOO_HARD_TO_CUT'
  | 'TEXT_TOKEN_UNKNOWN_TO_MODEL'
  | 'TEXT_NO_CHAT_TEMPLATE'
  | 'TEXT_NO_TOKENIZER'
  | 'TEXT_TEMPLATE_REFUSED'
  | 'TEXT_TEMPLATE_FAILED'
  | 'TEXT_TEMPLATE_TOO_COSTLY'
  | 'TEXT_TEMPLATE_WITHOUT_TOOLS'
  | 'TEXT_MESSAGES_TOO_LARGE'
  | 'TEXT_BAD_TOOL_ARGUMENTS'
  | 'TEXT_BAD_STOP_STRING'

export type TextErrorCode = LoadCode | RequestCode

const table: Readonly<Record<TextErrorCode, ErrorDefinition>> = {
  TEXT_BAD_TOKENIZER: {
    status: 422,
    retryable: false,
    message:
      'tokenizer: expected {expected} for {field}, got {got}; the checkpoint must be made again or another one used',
  },
  TEXT_UNSUPPORTED_TOKENIZER: {
    status: 422,
    retryable: false,
    message:
      'tokenizer: expected {field} to be one of {expected}, got {got}; use a checkpoint with such a tokenizer, or a Hugging Face folder with tokenizer.json',
  },
  TEXT_UNKNOWN_PRE_TOKENIZER: {
    status: 422,
    retryable: false,
    message:
      'tokenizer: tokenizer.ggml.pre names {got}, which decides how text is cut and cannot be guessed; known names: {expected}',
  },
  TEXT_NEEDS_TOKENIZER_JSON: {
    status: 422,
    retryable: false,
    message:
      "{folder}/tokenizer.model: expected SentencePiece BPE that takes text as it is, got one where {reason}; make tokenizer.json with: python -c \"from transformers import AutoTokenizer as A; A.from_pretrained('{folder}').save_pretrained('{folder}')\"",
  },
  TEXT_TOKENIZER_TOO_LARGE: {
    status: 422,
    retryable: false,
    message:
      'tokenizer: expected ids below {vocabSize}, the model’s vocabulary, got a tokenizer of {tokenizerSize} whose token {token} has id {id}; the tokenizer is of another model, fetch both again',
  },
  TEXT_BAD_CHAT_TEMPLATE: {
    status: 422,
    retryable: false,
    message:
      'chat template {template}: expected a Jinja template, got one that fails with: {reason}; use another checkpoint',
  },
  TEXT_TOO_LONG: {
    status: 400,
    retryable: false,
    message:
      'the text to tokenize may have at most {limit} bytes of UTF-8, got {got}; send a shorter text',
  },
  TEXT_ENCODE_FAILED: {
    status: 500,
    retryable: false,
    message:
      'the tokenizer failed on a text of {bytes} bytes: {reason}; report it with the model’s name',
  },
  TEXT_TOO_HARD_TO_CUT: {
    status: 400,
    retryable: false,
    message:
      'the model’s tokenizer could not cut a text of {bytes} bytes within its limits: {reason}; long runs of one kind of character, such as spaces, cost most, send a shorter text',
  },
  TEXT_TOKEN_UNKNOWN_TO_MODEL: {
    status: 400,
    retryable: false,
    message:
      'the text has the token {token} with id {id}, which this model’s tokenizer knows and its vocabulary of {vocabSize} does not; leave it out',
  },
  TEXT_NO_CHAT_TEMPLATE: {
    status: 400,
    retryable: false,
    message:
      'this model has no chat template, so it cannot take messages; use /v1/completions with a prompt',
  },
  TEXT_NO_TOKENIZER: {
    status: 400,
    retryable: false,
    message:
      'this model has no tokenizer, so it takes and gives token ids only; send a prompt of ids to /v1/completions with return_token_ids, without stop strings and echo',
  },
  TEXT_TEMPLATE_REFUSED: {
    status: 400,
    retryable: false,
    message: 'messages: the model’s chat template refuses them: {reason}',
  },
  TEXT_TEMPLATE_FAILED: {
    status: 400,
    retryable: false,
    message:
      'messages: the model’s chat template cannot render them: {reason}; check roles, content and tool calls',
  },
  TEXT_TEMPLATE_TOO_COSTLY: {
    status: 400,
    retryable: false,
    message:
      'messages: rendering the chat template went over {limit}; send fewer or shorter messages',
  },
  TEXT_TEMPLATE_WITHOUT_TOOLS: {
    status: 400,
    retryable: false,
    message:
      'tools: this model’s chat template does not read tools, so they would be ignored; leave tools out or use another model',
  },
  TEXT_MESSAGES_TOO_LARGE: {
    status: 400,
    retryable: false,
    message: '{field}: expected at most {limit}, got {got}; send less',
  },
  TEXT_BAD_TOOL_ARGUMENTS: {
    status: 400,
    retryable: false,
    message:
      'messages[{index}].tool_calls: expected function.arguments to be the text of a JSON object, got {got}',
  },
  TEXT_BAD_STOP_STRING: {
    status: 400,
    retryable: false,
    message: 'stop: expected {expected}, got {got}',
  },
}

export const textError: (code: TextErrorCode, options?: ServingErrorOptions) => ServingError =
  defineErrors('text', table)

/** For `details`: what came, said in one short line. */
export function describeValue(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (value === null) return 'null'
  if (Array.isArray(value)) return `an array of ${value.length}`
  if (typeof value === 'string') return quote(value)
  if (typeof value === 'object') return 'an object'
  return `${typeof value} ${String(value)}`
}

/** A foreign text inside a message: JSON quotes, cut to 80 characters, so that it cannot flood or break a line. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text)
}

/** A foreign error in a message: its text, cut to 300 characters. */
export function reasonOf(error: unknown): string {
  const reason = error instanceof Error ? error.message : String(error)
  return reason.length > 300 ? `${reason.slice(0, 300)}…` : reason
}
