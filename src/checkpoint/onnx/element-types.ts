/** ONNX's element types by number: their names here and the bits of one element. Source: onnx.proto3, TensorProto. */

export interface ElementType {
  readonly name: string
  /** `null` for texts, whose size the type does not say. */
  readonly bits: number | null
}

const TYPES: readonly (readonly [number, string, number | null])[] = [
  [1, 'F32', 32],
  [2, 'U8', 8],
  [3, 'I8', 8],
  [4, 'U16', 16],
  [5, 'I16', 16],
  [6, 'I32', 32],
  [7, 'I64', 64],
  [8, 'TEXT', null],
  [9, 'BOOL', 8],
  [10, 'F16', 16],
  [11, 'F64', 64],
  [12, 'U32', 32],
  [13, 'U64', 64],
  [14, 'C64', 64],
  [15, 'C128', 128],
  [16, 'BF16', 16],
  [17, 'F8_E4M3', 8],
  [18, 'F8_E4M3FNUZ', 8],
  [19, 'F8_E5M2', 8],
  [20, 'F8_E5M2FNUZ', 8],
  [21, 'U4', 4],
  [22, 'I4', 4],
  [23, 'F4', 4],
]

const BY_NUMBER = new Map(
  TYPES.map(([number, name, bits]): [number, ElementType] => [number, { name, bits }]),
)

/** `undefined` for a number that ONNX does not define. */
export function elementType(number: number): ElementType | undefined {
  return BY_NUMBER.get(number)
}

/** Bytes of a tensor; `undefined` when the count is beyond 2^53 or the type is a text. */
export function elementBytes({ bits }: ElementType, dims: readonly number[]): number | undefined {
  if (bits === null) return undefined
  const count = dims.reduce((product, extent) => product * extent, 1)
  const bytes = Math.ceil((count * bits) / 8)
  return Number.isSafeInteger(count) && Number.isSafeInteger(bytes) ? bytes : undefined
}
