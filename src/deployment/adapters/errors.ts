/** Why an adapter is not loaded, unloaded or answered with. Files' own faults are the checkpoint and execution rooms'. */

import { defineErrors, type ServingError, type ServingErrorOptions } from '../../base/errors.ts'

const table = {
  ADAPTER_UNKNOWN: {
    status: 404,
    retryable: false,
    message:
      'the model "{base}" has no adapter "{name}"; loaded: {loaded}; name one of them behind a colon, or load it with --lora-modules or POST /v1/load_lora_adapter',
  },
  ADAPTER_FAILED: {
    status: 503,
    retryable: false,
    message:
      'the adapter "{name}" of "{base}" could not be loaded as its engine started: {reason}; mend it, then unload it and load it again',
  },
  ADAPTER_BAD_NAME: {
    status: 400,
    retryable: false,
    message:
      'expected an adapter’s name of letters, digits, dots, dashes and underscores, at most 100, got "{name}"; give it another one',
  },
  ADAPTER_NO_BASE: {
    status: 400,
    retryable: false,
    message:
      'expected the name of one model before the adapter’s, as in {example}, got "{name}" where {served} are served; name the base too',
  },
  ADAPTER_EXISTS: {
    status: 409,
    retryable: false,
    message:
      'the model "{base}" has an adapter "{name}" already; unload it first, or give another name',
  },
  ADAPTER_IS_LOADING: {
    status: 409,
    retryable: true,
    message: 'the adapter "{name}" of "{base}" is still being loaded; unload it afterwards',
  },
  ADAPTER_TOO_MANY: {
    status: 409,
    retryable: false,
    message:
      'the model "{base}" has {maxLoras} adapters, which are as many as it may have at once; unload one, or raise --max-loras',
  },
  ADAPTER_LOADING_OFF: {
    status: 403,
    retryable: false,
    message:
      'loading adapters over HTTP is off, for it reads folders of this machine; start the server with --runtime-lora-folder and the folder that they lie in, or with --lora-modules',
  },
  ADAPTER_OUTSIDE: {
    status: 403,
    retryable: false,
    message:
      'expected lora_path to be a folder within the one of --runtime-lora-folder, got another place; copy the adapter there',
  },
} as const

export type AdapterErrorCode = keyof typeof table

export const adapterError: (code: AdapterErrorCode, options?: ServingErrorOptions) => ServingError =
  defineErrors('adapters', table)
