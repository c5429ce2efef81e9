/** What keeps an executor from being made. */

import { defineErrors, type ServingError, type ServingErrorOptions } from '../base/errors.ts'

const table = {
  EXECUTION_KV_MEMORY_TOO_SMALL: {
    status: 500,
    retryable: false,
    message:
      'expected KV memory for at least one block of {blockSize} tokens ({blockBytes} bytes), got {kvMemoryBytes} bytes, which hold {fittingTokens} tokens; raise --kv-memory, or choose bf16 for the KV',
  },
  EXECUTION_LIMIT_TOO_LARGE: {
    status: 500,
    retryable: false,
    message:
      'expected {what} of at most {most}, got {got}; lower --max-sequences, --max-batch-tokens or the context',
  },
} as const

export type ExecutionErrorCode = keyof typeof table

export const executionError: (
  code: ExecutionErrorCode,
  options?: ServingErrorOptions,
) => ServingError = defineErrors('execution', table)
