/** What building or lowering a graph refuses. A shape error names the tensor or value and both shapes. */

import { defineErrors, type ServingError, type ServingErrorOptions } from '../base/errors.ts'

const table = {
  GRAPH_SHAPE_MISMATCH: {
    status: 422,
    retryable: false,
    message:
      '{node}: expected {what} of shape {expected}, got {got}; the checkpoint and its configuration disagree, fetch it again or choose another file',
  },
  GRAPH_NOT_LOWERABLE: {
    status: 500,
    retryable: false,
    message:
      '{node}: expected {expected} for the execution provider {provider}, got {got}; choose another provider or add the operator to its lowering',
  },
} as const

export type GraphErrorCode = keyof typeof table

export const graphError: (code: GraphErrorCode, options?: ServingErrorOptions) => ServingError =
  defineErrors('graph', table)
