/**
 * Parts of a stored tensor as tensors of their own: the same bytes of the same file, fewer of them. Reads no bytes.
 *
 * S1 A slice is whole rows, so that blocks of any format stay whole.
 */

import { invariant } from '../../src/base/errors.ts'
import type { TensorInfo } from '../../src/checkpoint/checkpoint.ts'
import { modelError } from '../errors.ts'

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

interface Bytes {
  readonly offset: number
  readonly byteLength: number
}

type Quantization = NonNullable<TensorInfo['quantization']>

function sliced(tensor: TensorInfo, slice: Slice): TensorInfo {
  const { name, shape } = slice
  const { quantization, exponents } = tensor
  if (quantization !== undefined) return quantizedSlice(tensor, quantization, slice)
  if (exponents === undefined) return { ...tensor, name, shape, ...bytesOf(tensor, slice) }
  const blocks = bytesOf(
    { offset: tensor.offset, byteLength: tensor.byteLength - exponents.byteLength },
    slice,
  )
  const apart = bytesOf(exponents, slice)
  return {
    ...tensor,
    name,
    shape,
    offset: blocks.offset,
    byteLength: blocks.byteLength + apart.byteLength,
    exponents: { ...exponents, ...apart },
  }
}

function bytesOf({ offset, byteLength }: Bytes, { name, first, count, total }: Slice): Bytes {
  const bytes = byteLength / total
  const isWithin = Number.isInteger(bytes) && first >= 0 && first + count <= total
  invariant(isWithin, 'S1', `${name} is whole parts`)
  return { offset: offset + first * bytes, byteLength: count * bytes }
}

/** Of codes in rows with scales for whole rows or for blocks of them, which the slice must not cut (fp8). */
function quantizedSlice(tensor: TensorInfo, quantization: Quantization, slice: Slice): TensorInfo {
  const { name, shape, first, count, total } = slice
  const { codes, values, scales, groupOfInput } = quantization
  const perScale = Math.min(scales.rowsPerScale, total)
  const isOne = perScale === total
  const isWhole = isOne || (first % perScale === 0 && count % perScale === 0)
  const isRows =
    values === 'float8' && codes.isOutputFirst && scales.isOutputFirst && groupOfInput === null
  if (!isRows || !isWhole || scales.layout !== 'grid') {
    throw modelError('MODEL_TENSOR_FORMAT', {
      details: {
        file: tensor.file,
        tensor: tensor.name,
        expected: 'F32, F16, BF16, blocks of GGUF, or fp8 whose scales are of whole heads',
        got: tensor.format,
      },
    })
  }
  const codeTensor = { ...codes.tensor, ...bytesOf(codes.tensor, slice) }
  const grid = { name, shape, first: first / perScale, count: count / perScale }
  const scaleTensor =
    scales.tensor === null || isOne
      ? scales.tensor
      : { ...scales.tensor, ...bytesOf(scales.tensor, { ...grid, total: total / perScale }) }
  return {
    ...tensor,
    name,
    shape,
    offset: codeTensor.offset,
    byteLength: codeTensor.byteLength + (scaleTensor?.byteLength ?? 0),
    quantization: {
      ...quantization,
      codes: { ...codes, tensor: codeTensor },
      scales: { ...scales, tensor: scaleTensor, rowsPerScale: isOne ? count : perScale },
    },
  }
}
