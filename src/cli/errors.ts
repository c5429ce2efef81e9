/**
 * What the commands themselves refuse, and the exit codes of `ingot`:
 *
 *   0  done; for `serve`: shut down as asked
 *   1  an expected failure, told in one line with its code; or a second signal while shutting down
 *   2  a wrong command line or configuration
 *   3  a fault of ours, told with its stack
 */

import { defineErrors, type ServingError, type ServingErrorOptions } from '../base/errors.ts'

export const EXIT = { done: 0, failed: 1, usage: 2, fault: 3 } as const

const table = {
  CLI_PORT_IN_USE: {
    status: 500,
    retryable: false,
    message:
      'port {port} of {host} is in use by another program; end it, or choose another with --port (0 = any free one)',
  },
  CLI_CANNOT_LISTEN: {
    status: 500,
    retryable: false,
    message:
      'expected to listen on {host}, port {port}, got {got}; choose another --host or --port',
  },
  CLI_HOME_IN_USE: {
    status: 409,
    retryable: false,
    message:
      'another server (pid {pid}) keeps its endpoints in {file}; end it, or give this one a home folder (--home) or an audit log (--audit-log) of its own',
  },
  CLI_NO_DEFAULT_MODEL: {
    status: 500,
    retryable: false,
    message: 'expected a MODEL, for the catalog has no default; the catalog has: {catalog}',
  },
  CLI_CANNOT_QUANTIZE: {
    status: 422,
    retryable: false,
    message: 'cannot be quantized: expected {expected}, got {got}; {next}',
  },
  CLI_NO_SERVER: {
    status: 503,
    retryable: true,
    message:
      'expected a server at {url}, got {got}; start one with ingot serve, or name another with --url',
  },
  CLI_NOT_INGOT: {
    status: 502,
    retryable: false,
    message:
      'expected an Ingot server at {url}, got {got}; another program may have that port, name the right one with --url',
  },
  CLI_SERVER_REFUSED: {
    status: 502,
    retryable: false,
    message: '{message} (status {status} of {url})',
  },
  CLI_ENDPOINT_FAILED: {
    status: 500,
    retryable: false,
    message: 'endpoint "{name}" did not start: {reason}',
  },
  CLI_BAD_ARGUMENT: {
    status: 400,
    retryable: false,
    message: 'expected {expected}, got {got}; {next}',
  },
} as const

export const cliError: (code: keyof typeof table, options?: ServingErrorOptions) => ServingError =
  defineErrors('cli', table)
