/**
 * GGUF's tensor type numbers, and which of them Ingot's `TensorFormat` covers.
 * A type that ggml knows and Ingot does not is named in the error; holes are types that ggml removed.
 * Source: ggml.h, enum ggml_type.
 */

import type { TensorFormat } from '../../base/tensor-format.ts'

export const TENSOR_FORMAT_BY_TYPE: Readonly<Record<number, TensorFormat>> = {
  0: 'F32',
  1: 'F16',
  2: 'Q4_0',
  3: 'Q4_1',
  6: 'Q5_0',
  7: 'Q5_1',
  8: 'Q8_0',
  10: 'Q2_K',
  11: 'Q3_K',
  12: 'Q4_K',
  13: 'Q5_K',
  14: 'Q6_K',
  20: 'IQ4_NL',
  23: 'IQ4_XS',
  30: 'BF16',
  34: 'TQ1_0',
  35: 'TQ2_0',
  39: 'MXFP4',
}

const UNSUPPORTED_TYPE_NAMES: Readonly<Record<number, string>> = {
  4: 'Q4_2 (removed from ggml)',
  5: 'Q4_3 (removed from ggml)',
  9: 'Q8_1',
  15: 'Q8_K',
  16: 'IQ2_XXS',
  17: 'IQ2_XS',
  18: 'IQ3_XXS',
  19: 'IQ1_S',
  21: 'IQ3_S',
  22: 'IQ2_S',
  24: 'I8',
  25: 'I16',
  26: 'I32',
  27: 'I64',
  28: 'F64',
  29: 'IQ1_M',
  31: 'Q4_0_4_4 (removed from ggml)',
  32: 'Q4_0_4_8 (removed from ggml)',
  33: 'Q4_0_8_8 (removed from ggml)',
  36: 'IQ4_NL_4_4 (removed from ggml)',
  37: 'IQ4_NL_4_8 (removed from ggml)',
  38: 'IQ4_NL_8_8 (removed from ggml)',
  40: 'NVFP4',
}

/** Name of a type for people, also of one that is not supported. */
export function tensorTypeName(type: number): string {
  return TENSOR_FORMAT_BY_TYPE[type] ?? UNSUPPORTED_TYPE_NAMES[type] ?? `unknown type ${type}`
}
