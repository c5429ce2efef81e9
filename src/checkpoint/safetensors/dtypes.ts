/**
 * safetensors' dtype names: what one number takes, and which of them are weights by themselves. Others are parts of
 * quantized weights (`../quantized`). One that safetensors has and Ingot never reads is named in the error, apart from one
 * that nobody knows. Source: safetensors, `Dtype`.
 */

import type { TensorFormat } from '../../base/tensor-format.ts'

export const DENSE_DTYPES: ReadonlyMap<string, TensorFormat> = new Map([
  ['F32', 'F32'],
  ['F16', 'F16'],
  ['BF16', 'BF16'],
])

export const DTYPE_BYTES: ReadonlyMap<string, number> = new Map([
  ['F32', 4],
  ['F16', 2],
  ['BF16', 2],
  ['F8_E4M3', 1],
  ['F8_E8M0', 1],
  ['I8', 1],
  ['U8', 1],
  ['I32', 4],
  ['I64', 8],
])

/** Known to the format; nothing here computes from them. */
export const OTHER_DTYPES: readonly string[] = [
  'BOOL',
  'F4',
  'F6_E2M3',
  'F6_E3M2',
  'F8_E5M2',
  'F8_E4M3FNUZ',
  'F8_E5M2FNUZ',
  'I16',
  'U16',
  'U32',
  'F64',
  'C64',
  'U64',
]
