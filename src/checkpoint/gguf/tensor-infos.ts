/**
 * GGUF's tensor table: names, shapes, types and offsets, each checked before anyone uses it.
 *
 * Owns nothing. Offsets in the file count from the data section, which begins at the next multiple of the alignment
 * behind the table; `TensorInfo.offset` counts from the file's start.
 * I1: `offset + byteLength ≤ fileSize`, offsets are aligned.
 * I2: no two tensors share a byte; names are unique.
 * Source: ggml, docs/gguf.md.
 */

import { TENSOR_FORMATS, type TensorFormat, tensorBytes } from '../../base/tensor-format.ts'
import type { MetadataValue, TensorInfo } from '../checkpoint.ts'
import { errorAt } from '../errors.ts'
import type { ByteCursor } from './byte-cursor.ts'
import { quote, readString } from './metadata.ts'
import { TENSOR_FORMAT_BY_TYPE, tensorTypeName } from './tensor-types.ts'

/** Of the specification. */
const MAX_NAME_BYTES = 64
const MAX_DIMS = 4
const DEFAULT_ALIGNMENT = 32

/** As the table says it: nothing has been checked against the data section yet. */
interface TableEntry {
  readonly name: string
  readonly format: TensorFormat
  readonly shape: readonly number[]
  readonly byteLength: number
  /** From the start of the data section, bytes. */
  readonly dataOffset: number
  /** Where the table says it, for errors. */
  readonly fieldOffset: number
}

/**
 * Read the table, whose end is where the data section begins (aligned).
 *
 * @returns tensors by name, in file order
 * @throws ServingError CHECKPOINT_BAD_TENSOR, CHECKPOINT_UNSUPPORTED_TENSOR_TYPE, CHECKPOINT_TRUNCATED
 */
export async function readTensorInfos(
  cursor: ByteCursor,
  numTensors: number,
  metadata: ReadonlyMap<string, MetadataValue>,
): Promise<Map<string, TensorInfo>> {
  const alignment = readAlignment(cursor, metadata)
  const entries = new Map<string, TableEntry>()
  for (let i = 0; i < numTensors; i++) {
    const offset = cursor.position
    const entry = await readEntry(cursor, `tensor[${i}]`)
    if (entries.has(entry.name)) {
      throw badTensor(cursor, offset, `tensor[${i}].name`, 'a name of its own', quote(entry.name))
    }
    entries.set(entry.name, entry)
  }
  const dataStart = Math.ceil(cursor.position / alignment) * alignment
  const tensors = new Map<string, TensorInfo>()
  for (const entry of entries.values()) {
    tensors.set(entry.name, placeTensor(cursor, entry, dataStart, alignment))
  }
  checkOverlaps(cursor, tensors, entries)
  return tensors
}

function readAlignment(cursor: ByteCursor, metadata: ReadonlyMap<string, MetadataValue>): number {
  const alignment = metadata.get('general.alignment') ?? DEFAULT_ALIGNMENT
  const isPowerOfTwo =
    typeof alignment === 'number' &&
    Number.isInteger(alignment) &&
    alignment > 0 &&
    alignment <= 0x8000_0000 &&
    (alignment & (alignment - 1)) === 0
  if (isPowerOfTwo) return alignment
  throw errorAt('CHECKPOINT_BAD_FIELD', {
    file: cursor.file,
    offset: cursor.position,
    field: 'metadata "general.alignment" (read before this byte)',
    expected: 'a power of two',
    got: typeof alignment === 'object' ? 'an array' : String(alignment),
  })
}

async function readEntry(cursor: ByteCursor, field: string): Promise<TableEntry> {
  const fieldOffset = cursor.position
  const name = await readString(cursor, `${field}.name`, MAX_NAME_BYTES)
  if (name === '') throw badTensor(cursor, fieldOffset, `${field}.name`, 'a name', 'none')
  const named = `${field} ${quote(name)}`
  const shape = await readShape(cursor, named)
  await cursor.need(12, named)
  const format = readFormat(cursor, named)
  const byteLength = tensorBytes(format, shape)
  if (byteLength === undefined) {
    const { blockWeights } = TENSOR_FORMATS[format]
    const expected = `rows of whole ${format} blocks (${blockWeights} weights) and fewer than 2^53 bytes`
    throw badTensor(cursor, fieldOffset, `${named}.dims`, expected, `shape [${shape.join(', ')}]`)
  }
  const offsetPlace = cursor.position
  const dataOffset = cursor.u64()
  if (typeof dataOffset === 'bigint') {
    const at = `${named}.offset`
    throw badTensor(cursor, offsetPlace, at, 'less than 2^53', String(dataOffset))
  }
  return { name, format, shape, byteLength, dataOffset, fieldOffset: offsetPlace }
}

async function readShape(cursor: ByteCursor, field: string): Promise<number[]> {
  await cursor.need(4, `${field}.numDims`)
  const numDims = cursor.u32()
  if (numDims < 1 || numDims > MAX_DIMS) {
    const expected = `1 to ${MAX_DIMS} dimensions`
    throw badTensor(cursor, cursor.position - 4, `${field}.numDims`, expected, String(numDims))
  }
  await cursor.need(numDims * 8, `${field}.dims`)
  const extents: number[] = []
  for (let d = 0; d < numDims; d++) {
    const extent = cursor.u64()
    if (typeof extent === 'bigint' || extent === 0) {
      const at = cursor.position - 8
      throw badTensor(cursor, at, `${field}.dims[${d}]`, 'an extent of 1 to 2^53', String(extent))
    }
    extents.push(extent)
  }
  // GGUF writes the innermost dimension first; Ingot's order is the opposite one.
  return extents.reverse()
}

function readFormat(cursor: ByteCursor, field: string): TensorFormat {
  const type = cursor.u32()
  const format = TENSOR_FORMAT_BY_TYPE[type]
  if (format !== undefined) return format
  throw errorAt('CHECKPOINT_UNSUPPORTED_TENSOR_TYPE', {
    file: cursor.file,
    offset: cursor.position - 4,
    field: `${field}.type`,
    expected: `one of ${Object.values(TENSOR_FORMAT_BY_TYPE).join(', ')}`,
    got: tensorTypeName(type),
    next: 'use the model in one of these quantizations',
  })
}

function placeTensor(
  cursor: ByteCursor,
  entry: TableEntry,
  dataStart: number,
  alignment: number,
): TensorInfo {
  const { name, format, shape, byteLength, dataOffset, fieldOffset } = entry
  const field = `tensor ${quote(name)}.offset`
  if (dataOffset % alignment !== 0) {
    const expected = `a multiple of the alignment ${alignment}`
    throw badTensor(cursor, fieldOffset, field, expected, String(dataOffset))
  }
  // Both are below 2^53, so their sum is compared right even where it is no longer exact.
  const offset = dataStart + dataOffset
  if (offset + byteLength > cursor.fileSize) {
    throw errorAt('CHECKPOINT_TRUNCATED', {
      file: cursor.file,
      offset: fieldOffset,
      field,
      expected: `its ${byteLength} bytes inside the file of ${cursor.fileSize} bytes`,
      got: `bytes ${offset} to ${offset + byteLength}`,
    })
  }
  return { name, format, shape, file: cursor.file, offset, byteLength }
}

function checkOverlaps(
  cursor: ByteCursor,
  tensors: ReadonlyMap<string, TensorInfo>,
  entries: ReadonlyMap<string, TableEntry>,
): void {
  const byOffset = [...tensors.values()].sort((a, b) => a.offset - b.offset)
  let previous: TensorInfo | undefined
  for (const tensor of byOffset) {
    if (previous !== undefined && tensor.offset < previous.offset + previous.byteLength) {
      const at = entries.get(tensor.name)?.fieldOffset ?? tensor.offset
      const end = previous.offset + previous.byteLength
      const expected = `bytes of its own, behind ${quote(previous.name)} that ends at ${end}`
      throw badTensor(
        cursor,
        at,
        `tensor ${quote(tensor.name)}.offset`,
        expected,
        `${tensor.offset}`,
      )
    }
    previous = tensor
  }
}

function badTensor(
  cursor: ByteCursor,
  offset: number,
  field: string,
  expected: string,
  got: string,
): Error {
  return errorAt('CHECKPOINT_BAD_TENSOR', { file: cursor.file, offset, field, expected, got })
}
