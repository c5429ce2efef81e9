/**
 * Compares a checkpoint's tensor index with the tensors that an architecture has. Owns nothing; reads no bytes.
 *
 * T1 After `checkTensorSet` returns, each expected tensor exists with its shape and there are no others, but for the
 *    optional ones and biases of zeros.
 */

import type { Checkpoint, TensorInfo } from '../src/checkpoint/checkpoint.ts'
import { modelError } from './errors.ts'

export interface ExpectedTensor {
  readonly name: string
  /** Outermost dimension first. */
  readonly shape: readonly number[]
  /** Another shape of as many numbers, which some writers give it. */
  readonly otherShape?: readonly number[]
  readonly isOptional?: boolean
  /** Formats it may be stored in; default: whatever the checkpoint's reader understands. */
  readonly formats?: readonly TensorInfo['format'][]
}

/** @throws ServingError MODEL_TENSOR_MISSING, MODEL_TENSOR_SHAPE, MODEL_TENSOR_FORMAT, MODEL_TENSOR_UNEXPECTED */
export function checkTensorSet(
  checkpoint: Checkpoint,
  architecture: string,
  expected: readonly ExpectedTensor[],
): void {
  const known = new Set<string>()
  for (const tensor of expected) {
    known.add(tensor.name)
    checkTensor(checkpoint, tensor)
  }
  const unexpected = [...checkpoint.tensors.values()].filter(
    ({ name, isZeroBias }) => !known.has(name) && isZeroBias !== true,
  )
  const [first] = unexpected
  if (first === undefined) return
  throw modelError('MODEL_TENSOR_UNEXPECTED', {
    details: {
      file: first.file,
      architecture,
      numTensors: unexpected.length,
      tensor: first.name,
      got: shapeText(first.shape),
    },
  })
}

/** A tensor that `checkTensorSet` has seen. */
export function tensorOf(checkpoint: Checkpoint, name: string): TensorInfo {
  const tensor = checkpoint.tensors.get(name)
  if (tensor !== undefined) return tensor
  const details = { file: checkpoint.files[0] ?? '', tensor: name, expected: 'any' }
  throw modelError('MODEL_TENSOR_MISSING', { details })
}

function checkTensor(checkpoint: Checkpoint, expected: ExpectedTensor): void {
  const { name, shape, otherShape = shape, formats } = expected
  const tensor = checkpoint.tensors.get(name)
  if (tensor === undefined) {
    if (expected.isOptional === true) return
    const details = { file: checkpoint.files[0] ?? '', tensor: name, expected: shapeText(shape) }
    throw modelError('MODEL_TENSOR_MISSING', { details })
  }
  const place = { file: tensor.file, tensor: name }
  if (!isSame(tensor.shape, shape) && !isSame(tensor.shape, otherShape)) {
    const details = { ...place, expected: shapeText(shape), got: shapeText(tensor.shape) }
    throw modelError('MODEL_TENSOR_SHAPE', { details })
  }
  if (formats !== undefined && !formats.includes(tensor.format)) {
    const details = { ...place, expected: formats.join(' or '), got: tensor.format }
    throw modelError('MODEL_TENSOR_FORMAT', { details })
  }
}

function shapeText(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`
}

function isSame(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((extent, i) => extent === b[i])
}
