/**
 * What a checkpoint will need before it is loaded: parameters, bytes by format, KV bytes a token.
 * Computes from the tensor index and from the geometry that a model definition gives; knows no architecture.
 */

import type { Checkpoint } from './checkpoint.ts'
import type { ExportedDecoder } from './onnx/exported-decoder.ts'

export interface FormatUsage {
  /** A name of `TensorInfo.format`, or of ONNX's element types for an exported graph. */
  readonly format: string
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
export function estimateWeights(
  checkpoint: Pick<Checkpoint, 'tensors' | 'totalTensorBytes'>,
): WeightsEstimate {
  const usages = new Map<string, FormatUsage>()
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

/**
 * The same of an exported graph. Elements are counted as stored: packed weights of 4 bits count as the bytes they lie in.
 */
export function estimateExported(
  { weights }: ExportedDecoder,
  totalTensorBytes: number,
): WeightsEstimate {
  const formats = weights.map(({ type, numTensors, numElements, bytes }) => ({
    format: type,
    numTensors,
    numParameters: numElements,
    bytes,
  }))
  const sum = (pick: (usage: FormatUsage) => number) =>
    formats.reduce((total, usage) => total + pick(usage), 0)
  return {
    numTensors: sum((usage) => usage.numTensors),
    numParameters: sum((usage) => usage.numParameters),
    bytes: totalTensorBytes,
    formats,
  }
}
