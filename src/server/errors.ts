/**
 * What the HTTP side refuses, in our words. API words and shapes are made of these in `error-mapping.ts` only.
 * Messages name the request field, what it must be and what came; never a caller's text, because they are logged.
 */

import { defineErrors, type ServingError, type ServingErrorOptions } from '../base/errors.ts'

const table = {
  SERVER_MALFORMED_JSON: {
    status: 400,
    retryable: false,
    message: 'the request body must be one JSON object, but {reason}',
  },
  SERVER_MISSING_PARAMETER: {
    status: 400,
    retryable: false,
    message: "missing required parameter '{param}'; it must be {expected}",
  },
  SERVER_UNKNOWN_PARAMETER: {
    status: 400,
    retryable: false,
    message:
      "unknown parameter '{param}'; remove it, or see /openapi.json for the parameters of this route",
  },
  SERVER_UNSUPPORTED_PARAMETER: {
    status: 400,
    retryable: false,
    message: "parameter '{param}' is not supported here; leave it out or send {neutral}",
  },
  SERVER_INVALID_TYPE: {
    status: 400,
    retryable: false,
    message: "invalid type for '{param}': expected {expected}, but got {got}",
  },
  SERVER_INVALID_VALUE: {
    status: 400,
    retryable: false,
    message: "invalid value for '{param}': expected {expected}, but got {got}",
  },
  SERVER_CONFLICTING_PARAMETERS: {
    status: 400,
    retryable: false,
    message: "'{param}' cannot be used like this: {reason}",
  },
  SERVER_BAD_URL: {
    status: 400,
    retryable: false,
    message: 'the URL of the request cannot be read; check its percent-encoding',
  },
  SERVER_NAME_TOO_LONG: {
    status: 414,
    retryable: false,
    message: 'a name in the URL may have at most {limit} characters, escapes counted; shorten it',
  },
  SERVER_BAD_HTTP: {
    status: 400,
    retryable: false,
    message: 'the request is not valid HTTP/1.1: {reason}',
  },
  SERVER_UNKNOWN_MODEL: {
    status: 404,
    retryable: false,
    message: "the model '{model}' is not served here; GET /v1/models lists those that are",
  },
  SERVER_NO_TRACE: {
    status: 404,
    retryable: false,
    message:
      'no step trace was written yet; POST /debug/trace {"action": "start"}, let requests run, then stop it',
  },
  SERVER_UNKNOWN_ALIAS: {
    status: 404,
    retryable: false,
    message: "there is no alias '{alias}'; GET /v1/aliases lists those that are",
  },
  SERVER_UNKNOWN_ROUTE: {
    status: 404,
    retryable: false,
    message: 'unknown request URL: {method} {path}; see /openapi.json for the routes',
  },
  SERVER_METHOD_NOT_ALLOWED: {
    status: 405,
    retryable: false,
    message: '{method} is not allowed for {path}; allowed: {allowed}',
  },
  SERVER_REQUEST_TIMEOUT: {
    status: 408,
    retryable: true,
    message: 'the whole request must arrive in time, but it did not; send it again',
  },
  SERVER_BODY_TOO_LARGE: {
    status: 413,
    retryable: false,
    message: 'the request body must be at most {limit} bytes; send less text or fewer prompts',
  },
  SERVER_UNSUPPORTED_MEDIA_TYPE: {
    status: 415,
    retryable: false,
    message:
      'the request body must be application/json without a content-encoding, but {got} was named',
  },
  SERVER_HEADERS_TOO_LARGE: {
    status: 431,
    retryable: false,
    message: 'the request headers are too large; send fewer or shorter ones',
  },
  // Nobody receives it; the status is nginx's, and stands in the audit record.
  SERVER_CLIENT_GONE: {
    status: 499,
    retryable: true,
    message: 'the client closed the connection before its answer was complete',
  },
  SERVER_INTERNAL: {
    status: 500,
    retryable: false,
    message:
      'an internal error ended this request; its request id {requestId} is in the server log',
  },
  SERVER_GENERATION_FAILED: {
    status: 500,
    retryable: true,
    message: 'the model could not finish choice {choice}; send the request again',
  },
  SERVER_GENERATION_CANCELLED: {
    status: 503,
    retryable: true,
    message: 'choice {choice} was cancelled by the server; send the request again',
  },
  SERVER_DRAINING: {
    status: 503,
    retryable: true,
    message: 'the server is shutting down and takes no new requests; send it to another or later',
  },
  SERVER_SHUT_DOWN: {
    status: 503,
    retryable: true,
    message: 'the server shut down before the answer was complete; send the request again',
  },
}

export type ServerErrorCode = keyof typeof table

export const serverError: (code: ServerErrorCode, options?: ServingErrorOptions) => ServingError =
  defineErrors('server', table)

/** A parameter whose value is not what it must be. `expected` and `got` complete "expected …, but got …". */
export function invalidValue(param: string, expected: string, got: string): ServingError {
  return serverError('SERVER_INVALID_VALUE', { param, details: { param, expected, got } })
}

/** A parameter that contradicts another one, or the route. */
export function conflict(param: string, reason: string): ServingError {
  return serverError('SERVER_CONFLICTING_PARAMETERS', { param, details: { param, reason } })
}

/** A parameter that OpenAI defines and that is not honoured, with the value that is harmless. */
export function unsupported(param: string, neutral: string): ServingError {
  return serverError('SERVER_UNSUPPORTED_PARAMETER', { param, details: { param, neutral } })
}

export function unknownParameter(param: string): ServingError {
  return serverError('SERVER_UNKNOWN_PARAMETER', { param, details: { param } })
}
