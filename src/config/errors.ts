/**
 * Errors of the configuration. `param` is the key in the words of its source: a flag, a variable, a key of the file.
 * Over HTTP only a reload meets them, of a file that the administrator wrote: 422.
 */

import { defineErrors, type ServingError, type ServingErrorOptions } from '../base/errors.ts'

const table = {
  CONFIG_UNKNOWN_KEY: {
    status: 422,
    retryable: false,
    message: '{source}: "{key}" is not a setting{hint}; {docs} lists them all',
  },
  CONFIG_BAD_VALUE: {
    status: 422,
    retryable: false,
    message: '{source}: expected {key} to be {expected}, got {got}{hint}',
  },
  CONFIG_FILE_UNREADABLE: {
    status: 422,
    retryable: false,
    message:
      'expected a readable configuration file at {file} (named by {source}), got {got}; check the path and its permissions',
  },
  CONFIG_FILE_INVALID: {
    status: 422,
    retryable: false,
    message:
      '{file}: expected YAML or JSON of settings by room, such as {"server": {"port": 8000}}, got {got}; correct the file',
  },
  CONFIG_FILE_TOO_LARGE: {
    status: 422,
    retryable: false,
    message:
      '{file}: expected a configuration file of at most {limit}, got {got}; anchors count as what they expand to',
  },
  CONFIG_DUPLICATE_KEY: {
    status: 422,
    retryable: false,
    message:
      '{source}: expected every key once, got "{key}" again, which line {line} has already; remove one of them',
  },
  CONFIG_NEEDS_RESTART: {
    status: 409,
    retryable: false,
    message:
      '{file}: nothing was applied, because the settings {keys} have changed, and settings are read at a start alone; restart the server, or set them back',
  },
  CONFIG_BAD_MODEL: {
    status: 422,
    retryable: false,
    message: '{source}: {key} names no model: {message}',
  },
  CONFIG_NOT_WELL: {
    status: 422,
    retryable: false,
    message: '{file}: {count}; nothing of the file is used until it is well',
  },
} as const

export type ConfigErrorCode = keyof typeof table

export const configError: (code: ConfigErrorCode, options?: ServingErrorOptions) => ServingError =
  defineErrors('config', table)
