/** Why a checkpoint is not a model that can be computed as its authors meant it. Each names the key or tensor. */

import { defineErrors, type ServingError, type ServingErrorOptions } from '../src/base/errors.ts'

const table = {
  MODEL_UNSUPPORTED_ARCHITECTURE: {
    status: 422,
    retryable: false,
    message:
      '{file}: expected one of the architectures {known} in {key}, got {got}; choose a checkpoint of one of them',
  },
  MODEL_UNSUPPORTED_CHECKPOINT_KIND: {
    status: 422,
    retryable: false,
    message:
      '{file}: expected {architecture} as one of {expected}, got {got}; choose a file of that kind',
  },
  MODEL_BAD_METADATA: {
    status: 422,
    retryable: false,
    message:
      '{file}: expected {expected} in {key}, got {got}; the file is damaged or of an unknown variant, fetch it again or choose another',
  },
  MODEL_UNSUPPORTED_FEATURE: {
    status: 422,
    retryable: false,
    message:
      '{file}: {key} is {got}, which would change the results and is not supported for {architecture} (supported: {expected}); choose another checkpoint',
  },
  MODEL_TENSOR_MISSING: {
    status: 422,
    retryable: false,
    message:
      '{file}: expected tensor {tensor} of shape {expected}, got none of that name; the file is incomplete, fetch it again',
  },
  MODEL_TENSOR_SHAPE: {
    status: 422,
    retryable: false,
    message:
      '{file}: expected tensor {tensor} of shape {expected}, got {got}; tensors and metadata disagree, fetch the file again',
  },
  MODEL_TENSOR_UNEXPECTED: {
    status: 422,
    retryable: false,
    message:
      '{file}: expected only the tensors of {architecture}, got {numTensors} more, the first {tensor} of shape {got}; the checkpoint is a variant that is not supported',
  },
  MODEL_TENSOR_FORMAT: {
    status: 422,
    retryable: false,
    message:
      '{file}: expected tensor {tensor} stored as {expected}, got {got}; choose another file of this model',
  },
} as const

export type ModelErrorCode = keyof typeof table

export const modelError: (code: ModelErrorCode, options?: ServingErrorOptions) => ServingError =
  defineErrors('models', table)
