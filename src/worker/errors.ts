/**
 * What a replica's process can do wrong, as the API process tells it. `WORKER_ENGINE_DIED` ends sequences that ran;
 * `WORKER_NOT_READY` refuses new ones; both carry the seconds after which trying again makes sense.
 */

import { defineErrors, type ServingError, type ServingErrorOptions } from '../base/errors.ts'

const table = {
  WORKER_NOT_READY: {
    status: 503,
    retryable: true,
    message:
      'the engine is {state} ({reason}) and takes no sequences; try again in {retryAfterSeconds} s',
  },
  WORKER_ENGINE_DIED: {
    status: 503,
    retryable: true,
    message:
      'the engine process ended while this sequence was in it ({reason}); send the request again in {retryAfterSeconds} s',
  },
  WORKER_GIVEN_UP: {
    status: 503,
    retryable: false,
    message:
      'the engine does not run any more ({reason}); mend the cause and start the server again',
  },
  WORKER_CRASH_LOOP: {
    status: 500,
    retryable: false,
    message:
      'the engine process ended {numFailures} times in a row, last because {reason}; its last words: {lastWords}; mend the cause and start again',
  },
  WORKER_ADAPTER_IN_USE: {
    status: 409,
    retryable: true,
    message:
      'expected no sequence of the adapter in slot {slot} inside the engine, but one still runs; unload it when its answers have ended',
  },
  WORKER_ADAPTERS_UNSUPPORTED: {
    status: 422,
    retryable: false,
    message:
      '{folder}: expected a model whose graph is made here, got an exported graph, which computes as it was exported; serve the safetensors folder or GGUF file of the base',
  },
  WORKER_STOPPED: {
    status: 503,
    retryable: true,
    message: 'the engine was stopped while this sequence was in it; send the request again',
  },
  WORKER_INTERNAL: {
    status: 500,
    retryable: true,
    message: 'a bug in the engine: {reason}; it restarts, send the request again',
  },
  WORKER_DRAFT_EXPORTED: {
    status: 422,
    retryable: false,
    message:
      'expected checkpoints of tensors for a model and its draft model, but {which} is an exported graph; serve without a draft model',
  },
  WORKER_BAD_CONSTANT: {
    status: 422,
    retryable: false,
    message:
      '{file}: expected {expected} at byte {offset} for tensor {tensor}, got {got}; fetch the file again',
  },
} as const

export type WorkerErrorCode = keyof typeof table

export const workerError: (code: WorkerErrorCode, options?: ServingErrorOptions) => ServingError =
  defineErrors('worker', table)
