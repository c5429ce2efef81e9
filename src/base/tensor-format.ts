/**
 * Storage formats of tensors: how many weights a block holds and how many bytes it takes.
 * The names are GGUF's; safetensors dtypes map onto the dense ones. Source: ggml's type table.
 */

export interface TensorFormatInfo {
  /** Weights a block holds along the innermost dimension; 1 for dense formats. */
  readonly blockWeights: number
  readonly blockBytes: number
}

export type TensorFormat =
  | 'F32'
  | 'F16'
  | 'BF16'
  | 'Q4_0'
  | 'Q4_1'
  | 'Q5_0'
  | 'Q5_1'
  | 'Q8_0'
  | 'Q2_K'
  | 'Q3_K'
  | 'Q4_K'
  | 'Q5_K'
  | 'Q6_K'
  | 'IQ4_NL'
  | 'IQ4_XS'
  | 'TQ1_0'
  | 'TQ2_0'
  | 'MXFP4'

/**
 * Quantized safetensors weights: several stored tensors that are one matrix. Named for people: who made it, and what its
 * numbers are; how they are computed is in `StoredQuantization`.
 */
export type QuantizedFormat =
  | `GPTQ_INT${2 | 3 | 4 | 8}`
  | 'AWQ_INT4'
  | `CT_INT${2 | 3 | 4 | 5 | 6 | 7 | 8}`
  | 'CT_FP8'
  | 'BNB_INT8'
  | 'BNB_NF4'
  | 'BNB_FP4'
  | 'FP8'
  | 'F8_E4M3'

export const TENSOR_FORMATS: Readonly<Record<TensorFormat, TensorFormatInfo>> = {
  F32: { blockWeights: 1, blockBytes: 4 },
  F16: { blockWeights: 1, blockBytes: 2 },
  BF16: { blockWeights: 1, blockBytes: 2 },
  Q4_0: { blockWeights: 32, blockBytes: 18 },
  Q4_1: { blockWeights: 32, blockBytes: 20 },
  Q5_0: { blockWeights: 32, blockBytes: 22 },
  Q5_1: { blockWeights: 32, blockBytes: 24 },
  Q8_0: { blockWeights: 32, blockBytes: 34 },
  Q2_K: { blockWeights: 256, blockBytes: 84 },
  Q3_K: { blockWeights: 256, blockBytes: 110 },
  Q4_K: { blockWeights: 256, blockBytes: 144 },
  Q5_K: { blockWeights: 256, blockBytes: 176 },
  Q6_K: { blockWeights: 256, blockBytes: 210 },
  IQ4_NL: { blockWeights: 32, blockBytes: 18 },
  IQ4_XS: { blockWeights: 256, blockBytes: 136 },
  TQ1_0: { blockWeights: 256, blockBytes: 54 },
  TQ2_0: { blockWeights: 256, blockBytes: 66 },
  MXFP4: { blockWeights: 32, blockBytes: 17 },
}

/**
 * Bytes that a tensor of this shape takes, or `undefined` when its rows are not whole blocks or the count overflows 2^53.
 *
 * @param shape - outermost dimension first
 */
export function tensorBytes(format: TensorFormat, shape: readonly number[]): number | undefined {
  const { blockWeights, blockBytes } = TENSOR_FORMATS[format]
  const innermost = shape.at(-1) ?? 1
  if (innermost % blockWeights !== 0) return undefined
  const weights = shape.reduce((product, extent) => product * extent, 1)
  const bytes = (weights / blockWeights) * blockBytes
  return Number.isSafeInteger(weights) && Number.isSafeInteger(bytes) ? bytes : undefined
}
