/**
 * safetensors' dtype names, and which of them Ingot computes from. One that safetensors has and Ingot does not is named
 * in the error, apart from one that nobody knows. Source: safetensors, `Dtype`.
 */

import type { TensorFormat } from '../../base/tensor-format.ts'

export const FORMAT_BY_DTYPE: ReadonlyMap<string, TensorFormat> = new Map([
  ['F32', 'F32'],
  ['F16', 'F16'],
  ['BF16', 'BF16'],
])

/** Known to the format; in a checkpoint they mean a quantization or a type that nothing here computes from. */
export const OTHER_DTYPES: readonly string[] = [
  'BOOL',
  'F4',
  'F6_E2M3',
  'F6_E3M2',
  'U8',
  'I8',
  'F8_E5M2',
  'F8_E4M3',
  'F8_E5M2FNUZ',
  'F8_E4M3FNUZ',
  'F8_E8M0',
  'I16',
  'U16',
  'I32',
  'U32',
  'F64',
  'C64',
  'I64',
  'U64',
]
