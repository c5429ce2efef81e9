/**
 * Reads a `TensorProto`'s head: how much it holds, and in which file. No element is read.
 *
 * T1 External data lie in a file beside the graph, never elsewhere, at a range that is named in whole bytes.
 */

import { elementBytes, elementType } from './element-types.ts'
import { delimited, type GraphParts, integerOf, MAX_NAME_BYTES, nameOf } from './graph-parts.ts'
import type { WireField, WireRange, WireReader } from './wire-reader.ts'

const EXTERNAL = 1
const MAX_RANK = 16
const MAX_EXTENT = 2 ** 53
const MAX_EXTERNAL_FILES = 4096

interface TensorHead {
  name: string
  readonly dims: number[]
  type: number
  /** Bytes that lie in the graph's own file. */
  inlineBytes: number
  isExternal: boolean
  readonly external: Map<string, string>
}

/** Add the tensor to `parts`. @returns its name */
export function readTensor(reader: WireReader, range: WireRange, parts: GraphParts): string {
  const head = readHead(reader, range)
  const what = `weight "${head.name}"`
  const type = elementType(head.type)
  if (type === undefined) {
    throw reader.bad(range.start, `the type of ${what}`, 'a type of ONNX', `${head.type}`)
  }
  const numElements = head.dims.reduce((product, extent) => product * extent, 1)
  const statedBytes = elementBytes(type, head.dims)
  if (statedBytes === undefined && type.bits !== null) {
    throw reader.bad(range.start, `the shape of ${what}`, 'below 2^53 bytes', `${head.dims}`)
  }
  const bytes = statedBytes ?? head.inlineBytes
  if (head.isExternal) noteExternal(reader, range, { head, bytes, what }, parts)
  const before = parts.weights.get(type.name) ?? {
    type: type.name,
    numTensors: 0,
    numElements: 0,
    bytes: 0,
  }
  parts.weights.set(type.name, {
    type: type.name,
    numTensors: before.numTensors + 1,
    numElements: before.numElements + numElements,
    bytes: before.bytes + bytes,
  })
  return head.name
}

function readHead(reader: WireReader, range: WireRange): TensorHead {
  const head: TensorHead = {
    name: '',
    dims: [],
    type: 0,
    inlineBytes: 0,
    isExternal: false,
    external: new Map(),
  }
  for (const field of reader.fields(range, 'a weight')) {
    switch (field.number) {
      case 1:
        addDims(reader, field, head)
        break
      case 2:
        head.type = integerOf(reader, field, 'the type of a weight')
        break
      case 8:
        head.name = nameOf(reader, field, 'the name of a weight')
        break
      case 4:
      case 5:
      case 6:
      case 7:
      case 9:
      case 10:
      case 11:
        head.inlineBytes += field.end - field.start
        break
      case 13:
        readEntry(reader, delimited(reader, field, 'external data'), head.external)
        break
      case 14:
        head.isExternal = integerOf(reader, field, 'the place of a weight') === EXTERNAL
        break
    }
  }
  return head
}

function addDims(reader: WireReader, field: WireField, head: TensorHead): void {
  head.dims.push(...reader.integers(field, 'the shape of a weight', MAX_RANK))
  const isBad = head.dims.length > MAX_RANK || head.dims.some((extent) => extent > MAX_EXTENT)
  if (!isBad) return
  const expected = `at most ${MAX_RANK} dimensions below 2^53`
  throw reader.bad(field.start, 'the shape of a weight', expected, `${head.dims.slice(0, 20)}`)
}

function readEntry(reader: WireReader, range: WireRange, entries: Map<string, string>): void {
  let key = ''
  let value = ''
  for (const field of reader.fields(range, 'external data')) {
    if (field.number === 1) key = nameOf(reader, field, 'a key of external data')
    if (field.number === 2) value = nameOf(reader, field, 'a value of external data')
  }
  if (entries.size < 16) entries.set(key, value)
}

interface ExternalTensor {
  readonly head: TensorHead
  readonly bytes: number
  readonly what: string
}

/** T1. */
function noteExternal(
  reader: WireReader,
  { start }: WireRange,
  { head, bytes, what }: ExternalTensor,
  parts: GraphParts,
): void {
  const location = (head.external.get('location') ?? '').replace(/^\.\//, '')
  if (!isPlainName(location)) {
    const expected = 'the name of a file beside the graph'
    throw reader.bad(start, `the external file of ${what}`, expected, JSON.stringify(location))
  }
  const offset = wholeNumber(head.external.get('offset') ?? '0')
  const length = wholeNumber(head.external.get('length') ?? `${bytes}`)
  if (offset === undefined || length === undefined || length < bytes) {
    const got = `offset ${head.external.get('offset')}, length ${head.external.get('length')}`
    const expected = `an offset and a length of ${bytes} bytes`
    throw reader.bad(start, `the external data of ${what}`, expected, got)
  }
  const needed = Math.max(parts.externalFiles.get(location) ?? 0, offset + bytes)
  parts.externalFiles.set(location, needed)
  if (parts.externalFiles.size > MAX_EXTERNAL_FILES) {
    throw reader.bad(start, 'external files', `at most ${MAX_EXTERNAL_FILES}`, 'more')
  }
}

/** Neither a path nor a way out of the folder. */
function isPlainName(name: string): boolean {
  const isName = name !== '' && name !== '.' && name !== '..' && !/[/\\\0]/.test(name)
  return isName && name.length <= 255 && Buffer.byteLength(name) <= MAX_NAME_BYTES
}

function wholeNumber(text: string): number | undefined {
  if (!/^\d{1,16}$/.test(text)) return undefined
  const value = Number(text)
  return Number.isSafeInteger(value) ? value : undefined
}
