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
  GRAPH_WEIGHTS_UNMATCHED: {
    status: 422,
    retryable: false,
    message:
      'weights override {override}: expected a pattern that matches a matrix of the model, got none that does; its names are like {names} (ingot inspect --json lists all)',
  },
  GRAPH_WEIGHTS_TIED: {
    status: 422,
    retryable: false,
    message:
      'expected one format for head and embedding, because this model has one table for both, got {head} and {embedding}; give one of the two',
  },
  GRAPH_WEIGHTS_UNSUPPORTED: {
    status: 422,
    retryable: false,
    message: 'weights: expected {expected}, got {got}; {next}',
  },
} as const

export type GraphErrorCode = keyof typeof table

export const graphError: (code: GraphErrorCode, options?: ServingErrorOptions) => ServingError =
  defineErrors('graph', table)
