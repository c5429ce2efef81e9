/**
 * From our errors to OpenAI's: status, body and headers. The one place that knows those shapes and words.
 *
 * Before the first byte an error is a status with a body; after it, the same body is one SSE event (`sse.ts`). Does not
 * know routes. What is not a `ServingError` is a fault of ours: its text stays in the log, and the caller gets the
 * request id to quote.
 */

import { InvariantError, ServingError } from '../base/errors.ts'
import { serverError } from './errors.ts'
import { MAX_PARAM_LENGTH } from './server-config.ts'

export interface ErrorBody {
  readonly error: {
    readonly message: string
    readonly type: string
    readonly param: string | null
    readonly code: string | null
  }
}

export interface ErrorAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: ErrorBody
}

/** OpenAI's `code` for ours, where its documentation or its clients' users know one. */
const API_CODES: Readonly<Record<string, string>> = {
  SERVER_MALFORMED_JSON: 'invalid_json',
  SERVER_MISSING_PARAMETER: 'missing_required_parameter',
  SERVER_UNKNOWN_PARAMETER: 'unknown_parameter',
  SERVER_UNSUPPORTED_PARAMETER: 'unsupported_parameter',
  SERVER_INVALID_TYPE: 'invalid_type',
  SERVER_UNKNOWN_MODEL: 'model_not_found',
  SERVER_BAD_URL: 'invalid_url',
  SERVER_NAME_TOO_LONG: 'invalid_url',
  SERVER_BAD_HTTP: 'invalid_http',
  SERVER_UNKNOWN_ROUTE: 'unknown_url',
  SERVER_METHOD_NOT_ALLOWED: 'method_not_allowed',
  SERVER_BODY_TOO_LARGE: 'request_too_large',
  SERVER_UNSUPPORTED_MEDIA_TYPE: 'unsupported_media_type',
  TEXT_TOO_LONG: 'context_length_exceeded',
  REQUEST_CONTEXT_TOO_LONG: 'context_length_exceeded',
  DEPLOYMENT_UNKNOWN_MODEL: 'model_not_found',
  ADAPTER_UNKNOWN: 'model_not_found',
}

/** The rest by status. */
const CODE_BY_STATUS: Readonly<Record<number, string>> = {
  400: 'invalid_value',
  401: 'invalid_api_key',
  403: 'permission_denied',
  404: 'not_found',
  408: 'request_timeout',
  409: 'conflict',
  429: 'rate_limit_exceeded',
  500: 'server_error',
  503: 'service_unavailable',
}

/** What an answer says besides the error. */
export interface ErrorSetting {
  /** Quoted to the caller when the error is a fault of ours. */
  readonly requestId: string
  /** For 429 and 503 that name no time themselves. */
  readonly retryAfterSeconds: number
  readonly maxBodyBytes: number
}

/** @param error - whatever was thrown */
export function toErrorAnswer(error: unknown, setting: ErrorSetting): ErrorAnswer {
  const known = asServingError(error, setting)
  const { status } = known
  const headers: Record<string, string> = {}
  if (status === 429 || status === 503) {
    headers['retry-after'] = String(Math.ceil(known.retryAfterSeconds ?? setting.retryAfterSeconds))
  }
  if (typeof known.details.allowed === 'string') headers.allow = known.details.allowed
  if (status === 401) headers['www-authenticate'] = 'Bearer'
  return {
    status,
    headers,
    body: {
      error: {
        message: sentence(known.message),
        type: errorType(status),
        param: wireParam(known),
        code: API_CODES[known.code] ?? CODE_BY_STATUS[status] ?? null,
      },
    },
  }
}

/** Any thrown value as an expected error; Fastify's own carry a code, and the rest is `SERVER_INTERNAL`. */
export function asServingError(error: unknown, setting: ErrorSetting): ServingError {
  if (error instanceof ServingError) return error
  const details = { requestId: setting.requestId }
  if (error instanceof InvariantError || !(error instanceof Error)) {
    return serverError('SERVER_INTERNAL', { details, cause: error })
  }
  return fromFramework(error, setting) ?? serverError('SERVER_INTERNAL', { details, cause: error })
}

function fromFramework(
  error: Error & { code?: string; statusCode?: number },
  { maxBodyBytes }: ErrorSetting,
): ServingError | null {
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return serverError('SERVER_BODY_TOO_LARGE', {
        details: { limit: maxBodyBytes },
        cause: error,
      })
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return serverError('SERVER_UNSUPPORTED_MEDIA_TYPE', {
        details: { got: 'another' },
        cause: error,
      })
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
      return serverError('SERVER_MALFORMED_JSON', {
        details: { reason: 'it is empty' },
        cause: error,
      })
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return serverError('SERVER_MALFORMED_JSON', {
        details: { reason: 'its length is not the one that content-length says' },
        cause: error,
      })
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return serverError('SERVER_NAME_TOO_LONG', {
        details: { limit: MAX_PARAM_LENGTH },
        cause: error,
      })
    case 'FST_ERR_BAD_URL':
      return serverError('SERVER_BAD_URL', { cause: error })
    default:
      break
  }
  // secure-json-parse throws a SyntaxError with status 400, for broken JSON as for a `__proto__` key.
  if (error.statusCode === 400) {
    return serverError('SERVER_MALFORMED_JSON', {
      details: { reason: 'it cannot be parsed' },
      cause: error,
    })
  }
  return null
}

/** Rooms below the dialects name parameters neutrally (`topP`); on the wire they are snake_case. */
function wireParam(error: ServingError): string | null {
  const { param, code } = error
  if (param === undefined) return null
  if (code.startsWith('SERVER_')) return param
  return param.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}

function errorType(status: number): string {
  if (status === 401) return 'authentication_error'
  if (status === 403) return 'permission_error'
  if (status === 429) return 'rate_limit_error'
  return status >= 500 ? 'server_error' : 'invalid_request_error'
}

/** With a capital and a full stop; but a message that begins with a parameter's name (`stop: …`) keeps it as it is. */
function sentence(message: string): string {
  const isNamed = /^[\w.[\]]+:/.test(message)
  const first = isNamed ? message : message.charAt(0).toUpperCase() + message.slice(1)
  return /[.!?]$/.test(first) ? first : `${first}.`
}
