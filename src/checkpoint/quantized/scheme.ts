/**
 * What a quantization scheme gives: which stored tensors are one weight. One file a scheme beside this one, chosen by
 * `quant_method` in `read-scheme.ts`. A scheme knows its configuration; it knows no architecture.
 */

import type { QuantizedFormat } from '../../base/tensor-format.ts'
import type { Companions } from './companions.ts'
import type { StoredQuantization, StoredTensor } from './stored-quantization.ts'

/** A weight [outputs, inputs] made of several stored tensors. */
export interface QuantizedWeight {
  readonly name: string
  readonly format: QuantizedFormat
  readonly shape: readonly [outputs: number, inputs: number]
  readonly quantization: StoredQuantization
}

/** MXFP4 in two tensors: blocks [outputs …, groups, 16 bytes] and their exponents [outputs …, groups]. */
export interface SplitBlocks {
  readonly name: string
  readonly shape: readonly number[]
  readonly blocks: StoredTensor
  readonly exponents: StoredTensor
}

export type ReadBytes = (tensor: StoredTensor, limitBytes: number) => Promise<Buffer>

export interface Scheme {
  /** For people: `GPTQ, 4 bits, groups of 128`. */
  readonly description: string
  /**
   * The weight whose codes `tensor` holds; `null` when it holds none.
   *
   * @throws ServingError CHECKPOINT_QUANTIZED_TENSOR, CHECKPOINT_QUANTIZATION_UNSUPPORTED
   */
  weightOf(
    tensor: StoredTensor,
    companions: Companions,
    read: ReadBytes,
  ): Promise<QuantizedWeight | null> | QuantizedWeight | SplitBlocks | null
}

export const FLOATS: readonly string[] = ['F32', 'F16', 'BF16']

/** What the name ends in, taken off; `null` when it ends otherwise. */
export function moduleOf(name: string, ending: string): string | null {
  return name.endsWith(ending) ? name.slice(0, -ending.length) : null
}
