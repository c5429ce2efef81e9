/**
 * Every error of the native addon and of its loader. Codes from `NATIVE_BAD_OPTION` on are thrown by the addon itself as
 * plain `Error`s with `code`; `nativeServingError` makes the product's own error of one. A test compares the two lists.
 */

import { defineErrors, type ServingError, type ServingErrorOptions } from '../src/base/errors.ts'

const table = {
  NATIVE_NOT_FOUND: {
    status: 500,
    retryable: false,
    message:
      'the native addon could not be loaded: needed one for {platform}-{arch} with Node-API 6 or newer (this is Node {node}); tried {tried}; run `npm run build` in {root}',
  },
  NATIVE_ABI_MISMATCH: {
    status: 500,
    retryable: false,
    message:
      'the native addon at {path} has ABI {found}, this source needs {needed}; run `npm run build` in {root}',
  },
  NATIVE_ORT_NOT_FOUND: {
    status: 500,
    retryable: false,
    message:
      'no libonnxruntime for {platform}-{arch} in the package onnxruntime-node: looked for {wanted} in {searched}; run `npm ci` in {root}',
  },
  NATIVE_BAD_OPTION: { status: 500, retryable: false, message: 'native model option: {reason}' },
  NATIVE_ORT_LIBRARY: { status: 500, retryable: false, message: 'ONNX Runtime: {reason}' },
  NATIVE_BAD_WEIGHT: { status: 500, retryable: false, message: 'native weights: {reason}' },
  NATIVE_BAD_PACK: { status: 500, retryable: true, message: 'packed weights: {reason}' },
  NATIVE_BAD_GRAPH: { status: 500, retryable: false, message: 'native graph: {reason}' },
  NATIVE_BAD_STEP: { status: 500, retryable: false, message: 'native step: {reason}' },
  NATIVE_STEP_FAILED: { status: 500, retryable: true, message: 'native step failed: {reason}' },
  NATIVE_BAD_SAMPLER: { status: 500, retryable: false, message: 'native sampler: {reason}' },
  NATIVE_BAD_BLOCK: { status: 500, retryable: false, message: 'native KV blocks: {reason}' },
  NATIVE_BUSY: { status: 500, retryable: true, message: 'native model: {reason}' },
  NATIVE_STATE: { status: 500, retryable: false, message: 'native model: {reason}' },
  NATIVE_DISPOSED: { status: 500, retryable: false, message: 'native model: {reason}' },
  NATIVE_OUT_OF_MEMORY: { status: 507, retryable: false, message: 'native memory: {reason}' },
  NATIVE_PANIC: { status: 500, retryable: true, message: 'a bug in the native addon: {reason}' },
} as const

export type NativeErrorCode = keyof typeof table

export const nativeError: (code: NativeErrorCode, options?: ServingErrorOptions) => ServingError =
  defineErrors('native', table)

/** Codes that the addon itself throws; the first three belong to the loader. */
export const ADDON_ERROR_CODES: readonly NativeErrorCode[] = (
  Object.keys(table) as NativeErrorCode[]
).slice(3)

/** The product's error for what a call of the addon threw or rejected with; anything else comes back as it is. */
export function nativeServingError(cause: unknown): unknown {
  if (!(cause instanceof Error) || !('code' in cause)) return cause
  const code = ADDON_ERROR_CODES.find((known) => known === cause.code)
  return code === undefined
    ? cause
    : nativeError(code, { cause, details: { reason: cause.message } })
}
