/** A graph's weights in the words of the native addon. No byte is read here: the addon maps the files itself. */

import type { NativeWeight, NativeWeightPart } from '../../native/binding.ts'
import type { TensorInfo } from '../checkpoint/checkpoint.ts'
import type { GraphWeight } from '../graph/graph.ts'

export function nativeWeight(weight: GraphWeight): NativeWeight {
  if (weight.kind === 'constant') {
    return { name: weight.name, kind: weight.kind, values: weight.values }
  }
  return { name: weight.name, kind: weight.kind, parts: weight.tensors.map(nativePart) }
}

/** Stored bytes; what a loading bar counts. */
export function weightBytes(weight: GraphWeight): number {
  if (weight.kind === 'constant') return weight.values.byteLength
  return weight.tensors.reduce((sum, { byteLength }) => sum + byteLength, 0)
}

function nativePart({ file, offset, byteLength, format, shape }: TensorInfo): NativeWeightPart {
  return { file, offset, byteLength, format, shape }
}
