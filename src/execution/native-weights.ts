/** A graph's weights in the words of the native addon. No byte is read here: the addon maps the files itself. */

import type { NativeWeight, NativeWeightPart } from '../../native/binding.ts'
import type { TensorInfo } from '../checkpoint/checkpoint.ts'
import type { GraphWeight, TensorTarget } from '../graph/graph.ts'
import { nativeQuantization } from './native-quantization.ts'

export function nativeWeight(weight: GraphWeight): NativeWeight {
  if (weight.kind === 'constant') {
    return { name: weight.name, kind: weight.kind, values: weight.values }
  }
  return { name: weight.name, kind: weight.kind, parts: partsOf(weight) }
}

/** Stored bytes; what a loading bar counts. */
export function weightBytes(weight: GraphWeight): number {
  if (weight.kind === 'constant') return weight.values.byteLength
  return weight.tensors.reduce((sum, { byteLength }) => sum + byteLength, 0)
}

function partsOf({ tensors, targets, layout }: Exclude<GraphWeight, { kind: 'constant' }>) {
  const parts = tensors.map((tensor, index) => nativePart(tensor, targets?.[index] ?? null))
  return layout === 'columns' ? parts.map((part) => ({ ...part, layout })) : parts
}

function nativePart(tensor: TensorInfo, target: TensorTarget | null): NativeWeightPart {
  const { file, offset, format, shape, quantization } = tensor
  const { exponents } = tensor
  const ownBytes = tensor.byteLength - (exponents?.byteLength ?? 0)
  const byteLength = quantization?.codes.tensor.byteLength ?? ownBytes
  const quantized =
    quantization === undefined ? {} : { quantization: nativeQuantization(quantization) }
  const apart = exponents === undefined ? {} : { exponents: placeOf(exponents) }
  const part = { file, offset, byteLength, format, shape, ...quantized, ...apart }
  if (target === null) return part
  const { group } = target
  return { ...part, target: { format: target.format, ...(group === null ? {} : { group }) } }
}

function placeOf({ file, offset, byteLength }: NonNullable<TensorInfo['exponents']>) {
  return { file, offset, byteLength }
}
