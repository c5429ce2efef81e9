/**
 * What a checkpoint will need before it is loaded: parameters, bytes by format, KV bytes a token.
 * Computes from the tensor index and from the geometry that a model definition gives; knows no architecture.
 */

import type { TensorFormat } from '../base/tensor-format.ts'
import type { Checkpoint } from './checkpoint.ts'

export interface FormatUsage {
  readonly format: TensorFormat
  readonly numTensors: number
  readonly numParameters: number
  readonly bytes: number
}

export interface WeightsEstimate {
  readonly numTensors: number
  readonly numParameters: number
  /** As stored in the checkpoint. */
  readonly bytes: number
  /** Largest first. */
  readonly formats: readonly FormatUsage[]
}

/** Sum the tensor index. Cost: one pass over it. */
export function estimateWeights(checkpoint: Checkpoint): WeightsEstimate {
  const usages = new Map<TensorFormat, FormatUsage>()
  let numParameters = 0
  for (const { format, shape, byteLength } of checkpoint.tensors.values()) {
    const parameters = shape.reduce((product, extent) => product * extent, 1)
    const before = usages.get(format) ?? { format, numTensors: 0, numParameters: 0, bytes: 0 }
    usages.set(format, {
      format,
      numTensors: before.numTensors + 1,
      numParameters: before.numParameters + parameters,
      bytes: before.bytes + byteLength,
    })
    numParameters += parameters
  }
  const formats = [...usages.values()].sort((a, b) => b.bytes - a.bytes)
  const numTensors = checkpoint.tensors.size
  return { numTensors, numParameters, bytes: checkpoint.totalTensorBytes, formats }
}

export interface KvGeometry {
  /** One entry per attention layer. */
  readonly layers: readonly {
    readonly numKvHeads: number
    readonly headDim: number
    readonly valueDim?: number
  }[]
  readonly dtype: 'f32' | 'bf16'
}

/** Bytes of K and V together that one token takes over all layers. */
export function kvBytesPerToken({ layers, dtype }: KvGeometry): number {
  const elementBytes = dtype === 'f32' ? 4 : 2
  let elements = 0
  for (const { numKvHeads, headDim, valueDim = headDim } of layers) {
    elements += numKvHeads * (headDim + valueDim)
  }
  return elements * elementBytes
}
