/**
 * Types that keys and values are stored in, and the bytes a token takes in each: the arithmetic of `native/kernels`'
 * `KvPool`, so that memory is counted before a model is loaded. Knows no model.
 */

export const KV_DTYPES = ['f32', 'bf16', 'f16', 'int8'] as const
export type KvDtype = (typeof KV_DTYPES)[number]

/** One attention layer's KV. */
export interface KvShape {
  readonly numKvHeads: number
  readonly headDim: number
  /** Width of a value; absent = headDim. */
  readonly valueDim?: number
}

/** `joined` numbers of a key lie in one word; `scaleBytes` go with each token's key and value of a head. */
const TYPES = {
  f32: { elementBytes: 4, joined: 1, scaleBytes: 0 },
  bf16: { elementBytes: 2, joined: 2, scaleBytes: 0 },
  f16: { elementBytes: 2, joined: 1, scaleBytes: 0 },
  int8: { elementBytes: 1, joined: 4, scaleBytes: 4 },
} as const
/** Values are stored in whole vectors. */
const VALUE_LANES = 16

/** Bytes of K and V together that one token takes over all layers. */
export function kvBytesPerToken(layers: readonly KvShape[], dtype: KvDtype): number {
  const { elementBytes, joined, scaleBytes } = TYPES[dtype]
  let bytes = 0
  for (const { numKvHeads, headDim, valueDim = headDim } of layers) {
    const elements = roundUp(headDim, joined) + roundUp(valueDim, VALUE_LANES)
    bytes += numKvHeads * (elements * elementBytes + 2 * scaleBytes)
  }
  return bytes
}

function roundUp(n: number, step: number): number {
  return Math.ceil(n / step) * step
}
