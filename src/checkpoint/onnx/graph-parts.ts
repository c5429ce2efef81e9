/** What the readers of an ONNX file's parts share: what they gather, and how they take a field of the right kind. */

import type { WireField, WireRange, WireReader } from './wire-reader.ts'

export interface OnnxValue {
  readonly name: string
  /** A name of `element-types.ts`. */
  readonly type: string
  /** A number, the name of a dimension that changes, or `null` for one that is not said. */
  readonly shape: readonly (number | string | null)[]
}

/** Stored weights of one element type. */
export interface StoredWeights {
  readonly type: string
  readonly numTensors: number
  readonly numElements: number
  readonly bytes: number
}

/** What is gathered while the file is read. */
export interface GraphParts {
  irVersion: number
  producer: string
  readonly opsets: Map<string, number>
  readonly inputs: OnnxValue[]
  readonly outputs: OnnxValue[]
  readonly operators: Map<string, number>
  /** Whether some node asks for products in int8 (`accuracy_level` 4 of com.microsoft's MatMulNBits). */
  hasInt8Products: boolean
  readonly weights: Map<string, StoredWeights>
  readonly externalFiles: Map<string, number>
  /** In old files they are inputs too. */
  readonly initializers: Set<string>
  hasGraph: boolean
}

export const MAX_NAME_BYTES = 4096

/** The field's bytes; refuses a field of another wire type. */
export function delimited(reader: WireReader, field: WireField, what: string): WireRange {
  if (field.isDelimited) return field
  throw reader.bad(field.start, what, 'a message', 'a number')
}

export function integerOf(reader: WireReader, field: WireField, what: string): number {
  if (field.integer !== null) return field.integer
  throw reader.bad(field.start, what, 'an integer', 'another wire type')
}

export function nameOf(reader: WireReader, field: WireField, what: string): string {
  return reader.text(delimited(reader, field, what), what, MAX_NAME_BYTES)
}
