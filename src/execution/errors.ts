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
  EXECUTION_ADAPTER_MODULE: {
    status: 422,
    retryable: false,
    message:
      '{file}: expected modules of a {modelType} that adapters can change ({supported}), got {module}; merge the adapter into its base, or train it without that module',
  },
  EXECUTION_ADAPTER_SHAPE: {
    status: 422,
    retryable: false,
    message:
      '{file}: expected {module} to have {expected}, as in this {modelType}, got {got}; the adapter was made for another model',
  },
  EXECUTION_ADAPTER_VALUES: {
    status: 422,
    retryable: false,
    message:
      '{file}: expected matrices for {module} that can be multiplied with, got {reason}; fetch the adapter again or train it anew',
  },
  EXECUTION_ADAPTER_RANK: {
    status: 422,
    retryable: false,
    message:
      '{file}: expected ranks of at most {maxRank}, got {rank} for {module}; raise --max-lora-rank',
  },
  EXECUTION_ADAPTER_CHANGED: {
    status: 409,
    retryable: true,
    message:
      '{folder}: expected an adapter with digest {expected}, as it was asked for, got {got}; unload it and load it again once nothing writes to it',
  },
} as const

export type ExecutionErrorCode = keyof typeof table

export const executionError: (
  code: ExecutionErrorCode,
  options?: ServingErrorOptions,
) => ServingError = defineErrors('execution', table)
