/** What keeps an executor from being made. */

import { defineErrors, type ServingError, type ServingErrorOptions } from '../base/errors.ts'

const table = {
  EXECUTION_KV_MEMORY_TOO_SMALL: {
    status: 500,
    retryable: false,
    message:
      'expected KV memory for at least one block of {blockSize} tokens ({blockBytes} bytes), got {kvMemoryBytes} bytes, which hold {fittingTokens} tokens; raise --kv-memory, or choose bf16 or int8 for the KV',
  },
  EXECUTION_LIMIT_TOO_LARGE: {
    status: 500,
    retryable: false,
    message:
      'expected {what} of at most {most}, got {got}; lower --max-sequences, --max-batch-tokens or the context',
  },
  EXECUTION_ORT_NOT_LOADED: {
    status: 500,
    retryable: false,
    message:
      'expected onnxruntime-node, which runs exported graphs, got {reason}; run `npm ci` for this platform',
  },
  EXECUTION_GRAPH_REFUSED: {
    status: 422,
    retryable: false,
    message:
      '{file}: expected a graph that ONNX Runtime opens on this machine, got {reason}; export it for the CPU, or give another .onnx file of the folder',
  },
  EXECUTION_GRAPH_FAILED: {
    status: 500,
    retryable: true,
    message: 'expected the exported graph to run, got {reason}; try again, or export it anew',
  },
  EXECUTION_GRAPH_DISAGREES: {
    status: 422,
    retryable: false,
    message:
      '{file}: expected the same logits with a past as without (difference at most {most}), got {got}; the export is wrong, make it anew or give another .onnx file',
  },
  EXECUTION_GRAPH_FIXED: {
    status: 422,
    retryable: false,
    message:
      '{file}: expected a graph for 1 or any number of tokens a run, got one for {got}; export it with dynamic axes',
  },
} as const

export type ExecutionErrorCode = keyof typeof table

export const executionError: (
  code: ExecutionErrorCode,
  options?: ServingErrorOptions,
) => ServingError = defineErrors('execution', table)
