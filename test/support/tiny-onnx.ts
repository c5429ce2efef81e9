/**
 * Encodes small ONNX models, right ones and wrong ones, field by field. Independent of `src/graph`, so that the addon's
 * tests do not depend on the code that they check together. Source: onnx.proto3.
 */

export type TinyAttribute =
  | { readonly float: number }
  | { readonly int: number }
  | { readonly text: string }

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
  readonly dtype: 'f32' | 'i32'
  /** A number, or the symbol of a dimension that changes. */
  readonly shape: readonly (number | string)[]
}

export interface TinyModel {
  readonly nodes: readonly TinyNode[]
  readonly inputs: readonly TinyValue[]
  readonly outputs: readonly TinyValue[]
}

const ELEMENT_TYPES = { f32: 1, i32: 6 } as const

export function encodeOnnx(model: TinyModel): Uint8Array {
  const graph = [
    ...model.nodes.map((node) => bytes(1, encodeNode(node))),
    text(2, 'tiny'),
    ...model.inputs.map((value) => bytes(11, encodeValue(value))),
    ...model.outputs.map((value) => bytes(12, encodeValue(value))),
  ]
  const domains = ['', 'ingot'].map((domain) =>
    bytes(8, Buffer.concat([text(1, domain), integer(2, domain === '' ? 21 : 1)])),
  )
  return Buffer.concat([integer(1, 10), bytes(7, Buffer.concat(graph)), ...domains])
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
