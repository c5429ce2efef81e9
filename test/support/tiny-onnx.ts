/**
 * Encodes small ONNX models, right ones and wrong ones, field by field. Independent of `src/graph`, so that the addon's
 * tests do not depend on the code that they check together. Source: onnx.proto3.
 */

export type TinyAttribute =
  | { readonly float: number }
  | { readonly int: number }
  | { readonly text: string }
  | { readonly ints: readonly number[] }
  | { readonly graph: TinyModel }

export interface TinyNode {
  readonly operator: string
  readonly name?: string
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attributes?: Readonly<Record<string, TinyAttribute>>
  readonly domain?: string
}

export interface TinyValue {
  readonly name: string
  readonly dtype: TinyType
  /** A number, or the symbol of a dimension that changes. */
  readonly shape: readonly (number | string)[]
}

export type TinyType = keyof typeof ELEMENT_TYPES

export interface TinyTensor {
  readonly name: string
  readonly dtype: TinyType
  readonly shape: readonly number[]
  /** In the file itself, or where it lies beside the file. */
  readonly data:
    | Buffer
    | { readonly location: string; readonly offset: number; readonly length: number }
}

export interface TinyModel {
  readonly nodes: readonly TinyNode[]
  readonly inputs: readonly TinyValue[]
  readonly outputs: readonly TinyValue[]
  readonly initializers?: readonly TinyTensor[]
  /** Version by domain; default: 21 of ONNX's own, 1 of `ingot`. */
  readonly opsets?: Readonly<Record<string, number>>
}

const ELEMENT_TYPES = { f32: 1, u8: 2, i32: 6, i64: 7, bool: 9, f16: 10 } as const

export function encodeOnnx(model: TinyModel): Uint8Array {
  const domains = Object.entries(model.opsets ?? { '': 21, ingot: 1 }).map(([domain, version]) =>
    bytes(8, Buffer.concat([text(1, domain), integer(2, version)])),
  )
  return Buffer.concat([integer(1, 10), bytes(7, encodeGraph(model)), ...domains])
}

function encodeGraph({ nodes, inputs, outputs, initializers = [] }: TinyModel): Buffer {
  return Buffer.concat([
    ...nodes.map((node) => bytes(1, encodeNode(node))),
    text(2, 'tiny'),
    ...initializers.map((tensor) => bytes(5, encodeTensor(tensor))),
    ...inputs.map((value) => bytes(11, encodeValue(value))),
    ...outputs.map((value) => bytes(12, encodeValue(value))),
  ])
}

function encodeTensor({ name, dtype, shape, data }: TinyTensor): Buffer {
  const head = [
    ...shape.map((extent) => integer(1, extent)),
    integer(2, ELEMENT_TYPES[dtype]),
    text(8, name),
  ]
  if (Buffer.isBuffer(data)) return Buffer.concat([...head, bytes(9, data)])
  const entries = Object.entries(data).map(([key, value]) =>
    bytes(13, Buffer.concat([text(1, key), text(2, `${value}`)])),
  )
  return Buffer.concat([...head, ...entries, integer(14, 1)])
}

function encodeNode(node: TinyNode): Buffer {
  return Buffer.concat([
    ...node.inputs.map((name) => text(1, name)),
    ...node.outputs.map((name) => text(2, name)),
    text(3, node.name ?? node.operator),
    text(4, node.operator),
    ...Object.entries(node.attributes ?? {}).map(([name, value]) =>
      bytes(5, encodeAttribute(name, value)),
    ),
    text(7, node.domain ?? 'ingot'),
  ])
}

function encodeAttribute(name: string, value: TinyAttribute): Buffer {
  if ('float' in value) {
    const fixed = Buffer.alloc(4)
    fixed.writeFloatLE(value.float)
    return Buffer.concat([text(1, name), key(2, 5), fixed, integer(20, 1)])
  }
  if ('graph' in value) {
    return Buffer.concat([text(1, name), bytes(6, encodeGraph(value.graph)), integer(20, 5)])
  }
  if ('ints' in value) {
    const ints = value.ints.map((item) => integer(8, item))
    return Buffer.concat([text(1, name), ...ints, integer(20, 7)])
  }
  if ('int' in value) return Buffer.concat([text(1, name), integer(3, value.int), integer(20, 2)])
  return Buffer.concat([text(1, name), text(4, value.text), integer(20, 3)])
}

function encodeValue(value: TinyValue): Buffer {
  const dimensions = value.shape.map((extent) =>
    bytes(1, typeof extent === 'number' ? integer(1, extent) : text(2, extent)),
  )
  const tensor = Buffer.concat([
    integer(1, ELEMENT_TYPES[value.dtype]),
    bytes(2, Buffer.concat(dimensions)),
  ])
  return Buffer.concat([text(1, value.name), bytes(2, bytes(1, tensor))])
}

function key(field: number, wireType: number): Buffer {
  return varint(field * 8 + wireType)
}

function integer(field: number, value: number): Buffer {
  return Buffer.concat([key(field, 0), varint(value)])
}

function text(field: number, value: string): Buffer {
  return bytes(field, Buffer.from(value))
}

function bytes(field: number, value: Buffer): Buffer {
  return Buffer.concat([key(field, 2), varint(value.length), value])
}

function varint(value: number): Buffer {
  const out: number[] = []
  let rest = BigInt.asUintN(64, BigInt(value))
  do {
    const low = Number(rest & 0x7fn)
    rest >>= 7n
    out.push(rest === 0n ? low : low | 0x80)
  } while (rest !== 0n)
  return Buffer.from(out)
}
