/**
 * Errors of checkpoint files. Every one that speaks of a place in a file fills `file`, `offset` (bytes from the file's
 * start), `field`, `expected`, `got` and `next`, so that a person can open the file at the very byte.
 */

import {
  defineErrors,
  type ErrorDefinition,
  type ServingError,
  type ServingErrorOptions,
} from '../base/errors.ts'

type PlaceCode =
  | 'CHECKPOINT_BAD_MAGIC'
  | 'CHECKPOINT_UNSUPPORTED_VERSION'
  | 'CHECKPOINT_TRUNCATED'
  | 'CHECKPOINT_TOO_LARGE'
  | 'CHECKPOINT_BAD_FIELD'
  | 'CHECKPOINT_BAD_TENSOR'
  | 'CHECKPOINT_UNSUPPORTED_TENSOR_TYPE'

export type CheckpointErrorCode =
  | PlaceCode
  | 'CHECKPOINT_NOT_FOUND'
  | 'CHECKPOINT_UNREADABLE'
  | 'CHECKPOINT_CHANGED'
  | 'CHECKPOINT_UNSUPPORTED_KIND'
  | 'CHECKPOINT_SHARD_MISSING'
  | 'CHECKPOINT_SHARD_MISMATCH'
  | 'CHECKPOINT_UNSUPPORTED_EXPORT'
  | 'CHECKPOINT_EXTERNAL_DATA'
  | 'CHECKPOINT_PART_MISSING'
  | 'CHECKPOINT_SPLIT_MISMATCH'
  | 'CHECKPOINT_QUANTIZATION_UNSUPPORTED'
  | 'CHECKPOINT_QUANTIZED_TENSOR'
  | 'CHECKPOINT_ADAPTER_UNSUPPORTED'
  | 'CHECKPOINT_ADAPTER_CONFIG'
  | 'CHECKPOINT_ADAPTER_TENSOR'

const place = '{file}: expected {expected} for {field} at byte {offset}, got {got}; {next}'

const table: Readonly<Record<CheckpointErrorCode, ErrorDefinition>> = {
  CHECKPOINT_NOT_FOUND: {
    status: 404,
    retryable: false,
    message: 'expected a checkpoint at {file}, found nothing there; check the path',
  },
  CHECKPOINT_UNREADABLE: {
    status: 500,
    retryable: false,
    message:
      '{file}: reading failed at byte {offset} with {got}; check the file permissions and the disk',
  },
  CHECKPOINT_CHANGED: {
    status: 409,
    retryable: true,
    message:
      '{file}: expected {expected} bytes as when it was opened, got {got}; open it again when nothing writes to it any more',
  },
  CHECKPOINT_UNSUPPORTED_KIND: {
    status: 422,
    retryable: false,
    message: '{file}: expected one of {expected}, got {got}; {next}',
  },
  CHECKPOINT_SHARD_MISSING: {
    status: 404,
    retryable: false,
    message:
      '{file}: expected the shard {shard}, which holds tensor {tensor} and is named for {numTensors} in all, found nothing there; fetch the missing file',
  },
  CHECKPOINT_SHARD_MISMATCH: {
    status: 422,
    retryable: false,
    message:
      '{file}: expected tensor {tensor} in {expected}, got it in {got}; index and shards are not of one checkpoint, fetch them again',
  },
  CHECKPOINT_UNSUPPORTED_EXPORT: {
    status: 422,
    retryable: false,
    message: '{file}: expected {expected} for {field}, got {got}; {next}',
  },
  CHECKPOINT_EXTERNAL_DATA: {
    status: 422,
    retryable: false,
    message: '{file}: expected {expected} in {data}, got {got}; fetch the missing file',
  },
  CHECKPOINT_PART_MISSING: {
    status: 404,
    retryable: false,
    message:
      '{file}: expected the other parts of this model beside it, found nothing at {part}; fetch the missing file',
  },
  CHECKPOINT_SPLIT_MISMATCH: {
    status: 422,
    retryable: false,
    message:
      '{file}: expected {expected} for {field}, got {got}; a part is missing, swapped, doubled or of another model, fetch all parts again',
  },
  CHECKPOINT_QUANTIZATION_UNSUPPORTED: {
    status: 422,
    retryable: false,
    message:
      '{file}: {key} is {got}, which says how weights are stored and is not supported (supported: {expected}); choose another checkpoint of this model',
  },
  CHECKPOINT_QUANTIZED_TENSOR: {
    status: 422,
    retryable: false,
    message:
      '{file}: expected tensor {tensor} as {expected}, got {got}; tensors and quantization_config disagree, fetch all files of one checkpoint',
  },
  CHECKPOINT_ADAPTER_UNSUPPORTED: {
    status: 422,
    retryable: false,
    message: '{file}: {key} is {got}, and adapters are computed with {expected} only; {next}',
  },
  CHECKPOINT_ADAPTER_CONFIG: {
    status: 422,
    retryable: false,
    message:
      '{file}: expected {expected} for {key}, got {got}; fetch the adapter again or correct it',
  },
  CHECKPOINT_ADAPTER_TENSOR: {
    status: 422,
    retryable: false,
    message:
      '{file}: expected tensor {tensor} to be {expected}, got {got}; fetch both files of one adapter again',
  },
  CHECKPOINT_BAD_MAGIC: { status: 422, retryable: false, message: place },
  CHECKPOINT_UNSUPPORTED_VERSION: { status: 422, retryable: false, message: place },
  CHECKPOINT_TRUNCATED: { status: 422, retryable: false, message: place },
  CHECKPOINT_TOO_LARGE: { status: 422, retryable: false, message: place },
  CHECKPOINT_BAD_FIELD: { status: 422, retryable: false, message: place },
  CHECKPOINT_BAD_TENSOR: { status: 422, retryable: false, message: place },
  CHECKPOINT_UNSUPPORTED_TENSOR_TYPE: { status: 422, retryable: false, message: place },
}

export const checkpointError: (
  code: CheckpointErrorCode,
  options?: ServingErrorOptions,
) => ServingError = defineErrors('checkpoint', table)

/** A place in a file and what is wrong with it. `next` defaults to fetching the file again. */
export interface FilePlace {
  readonly file: string
  readonly offset: number
  readonly field: string
  readonly expected: string
  readonly got: string
  readonly next?: string
}

/** Make an error that names the byte where the file is wrong. */
export function errorAt(code: PlaceCode, at: FilePlace): ServingError {
  const next = at.next ?? 'the file is damaged or incomplete, fetch it again'
  return checkpointError(code, { details: { ...at, next } })
}

/** A part of an exported model that this runtime cannot feed or read. */
export interface ExportPlace {
  readonly file: string
  readonly field: string
  readonly expected: string
  readonly got: string
  readonly next: string
}

export function exportError(at: ExportPlace): ServingError {
  return checkpointError('CHECKPOINT_UNSUPPORTED_EXPORT', { details: { ...at } })
}

/** Turn what the file system threw into this room's error. `offset` is where reading stood. */
export function readFailure(file: string, offset: number, cause: unknown): ServingError {
  const code = (cause as NodeJS.ErrnoException | null)?.code
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return checkpointError('CHECKPOINT_NOT_FOUND', { details: { file }, cause })
  }
  const got = code ?? (cause instanceof Error ? cause.message : 'an unknown error')
  return checkpointError('CHECKPOINT_UNREADABLE', { details: { file, offset, got }, cause })
}
