/**
 * Parts of a stored tensor as tensors of their own: the same bytes of the same file, fewer of them. Reads no bytes.
 *
 * S1 A slice is whole rows, so that blocks of any format stay whole.
 */

import { invariant } from '../../src/base/errors.ts'
import type { TensorInfo } from '../../src/checkpoint/checkpoint.ts'

/** One of those that a tensor holds along its outermost dimension. */
export function memberOf(tensor: TensorInfo, index: number): TensorInfo {
  const [total = 0, ...shape] = tensor.shape
  return sliced(tensor, { name: `${tensor.name}[${index}]`, shape, first: index, count: 1, total })
}

/** `count` rows of a matrix, from row `first` on. */
export function rowsOf(
  tensor: TensorInfo,
  { name, first, count }: { readonly name: string; readonly first: number; readonly count: number },
): TensorInfo {
  const [total = 0, width = 0] = tensor.shape
  return sliced(tensor, { name, shape: [count, width], first, count, total })
}

interface Slice {
  readonly name: string
  readonly shape: readonly number[]
  /** Of `total` equal parts of the tensor. */
  readonly first: number
  readonly count: number
  readonly total: number
}

function sliced(tensor: TensorInfo, { name, shape, first, count, total }: Slice): TensorInfo {
  const bytes = tensor.byteLength / total
  const isWithin = Number.isInteger(bytes) && first >= 0 && first + count <= total
  invariant(isWithin, 'S1', `${name} is whole parts of ${tensor.name}`)
  const offset = tensor.offset + first * bytes
  return { ...tensor, name, shape, offset, byteLength: count * bytes }
}
