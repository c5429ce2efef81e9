/** Reads a `ValueInfoProto`: name, element type and shape of a graph's input or output. */

import { elementType } from './element-types.ts'
import { delimited, integerOf, nameOf, type OnnxValue } from './graph-parts.ts'
import type { WireRange, WireReader } from './wire-reader.ts'

const MAX_RANK = 16
/** Extents are int64; above this one is no tensor's, but a negative number: unknown. */
const MAX_EXTENT = 2 ** 40

export function readValueInfo(reader: WireReader, range: WireRange): OnnxValue {
  let name = ''
  let type: WireRange | null = null
  for (const field of reader.fields(range, 'an input or output')) {
    if (field.number === 1) name = nameOf(reader, field, 'the name of an input or output')
    if (field.number === 2) type = delimited(reader, field, 'the type of an input or output')
  }
  if (type === null) return { name, type: 'no type', shape: [] }
  let tensor: WireRange | null = null
  for (const field of reader.fields(type, 'a type')) {
    // 1 = dense tensor; sequences, maps and sparse tensors have other numbers.
    if (field.number === 1) tensor = delimited(reader, field, 'a tensor type')
  }
  if (tensor === null) return { name, type: 'no tensor', shape: [] }
  return { name, ...readTensorType(reader, tensor) }
}

function readTensorType(reader: WireReader, range: WireRange): Omit<OnnxValue, 'name'> {
  let type = 'no type'
  let shape: (number | string | null)[] = []
  for (const field of reader.fields(range, 'a tensor type')) {
    if (field.number === 1) {
      const number = integerOf(reader, field, 'an element type')
      type = elementType(number)?.name ?? `type ${number}`
    }
    if (field.number === 2) shape = readShape(reader, delimited(reader, field, 'a shape'))
  }
  return { type, shape }
}

function readShape(reader: WireReader, range: WireRange): (number | string | null)[] {
  const shape: (number | string | null)[] = []
  for (const field of reader.fields(range, 'a shape')) {
    if (field.number !== 1) continue
    if (shape.length === MAX_RANK) {
      throw reader.bad(field.start, 'a shape', `at most ${MAX_RANK} dimensions`, 'more')
    }
    shape.push(readDimension(reader, delimited(reader, field, 'a dimension')))
  }
  return shape
}

function readDimension(reader: WireReader, range: WireRange): number | string | null {
  let dimension: number | string | null = null
  for (const field of reader.fields(range, 'a dimension')) {
    if (field.number === 2) dimension = nameOf(reader, field, 'the name of a dimension')
    if (field.number !== 1) continue
    const extent = integerOf(reader, field, 'a dimension')
    dimension = extent > MAX_EXTENT ? null : extent
  }
  return dimension
}
