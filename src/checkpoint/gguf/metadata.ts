/**
 * GGUF key-values: thirteen value types, arrays of any of them, arrays in arrays.
 *
 * Owns nothing; knows types and limits, not what a key means (but `general.alignment` is read by `tensor-infos`).
 * I1: an array's count is checked against the bytes behind it before a single element is made.
 * I2: keys are unique; strings are UTF-8.
 * Vocabularies are the bulk (49,152–262,144 strings), so string arrays run synchronously inside
 * each window.
 * Source: ggml, docs/gguf.md.
 */

import type { MetadataValue } from '../checkpoint.ts'
import { errorAt } from '../errors.ts'
import type { ByteCursor } from './byte-cursor.ts'

/** Of the specification: keys are at most 2^16 - 1 bytes. */
const MAX_KEY_BYTES = 65_535
/** A whole `tokenizer.json` inside a value is about 35 MB in the largest vocabularies. */
const MAX_STRING_BYTES = 128 * 1024 * 1024
/** 64 times the largest vocabulary. */
const MAX_ARRAY_ELEMENTS = 1 << 24
const MAX_ARRAY_DEPTH = 4
/** Passed over at a time. */
const SKIPPED_BYTES = 65_536

const STRING = 8
const ARRAY = 9
/** Smallest encoding of an element: a string is its length, an array its type and count. */
const SMALLEST_STRING_BYTES = 8
const SMALLEST_ARRAY_BYTES = 12

interface ScalarType {
  readonly bytes: number
  read(cursor: ByteCursor): number | bigint
}

const SCALARS: Readonly<Record<number, ScalarType>> = {
  0: { bytes: 1, read: (cursor) => cursor.u8() },
  1: { bytes: 1, read: (cursor) => cursor.i8() },
  2: { bytes: 2, read: (cursor) => cursor.u16() },
  3: { bytes: 2, read: (cursor) => cursor.i16() },
  4: { bytes: 4, read: (cursor) => cursor.u32() },
  5: { bytes: 4, read: (cursor) => cursor.i32() },
  6: { bytes: 4, read: (cursor) => cursor.f32() },
  10: { bytes: 8, read: (cursor) => cursor.u64() },
  11: { bytes: 8, read: (cursor) => cursor.i64() },
  12: { bytes: 8, read: (cursor) => cursor.f64() },
}
const BOOL = 7

export type Metadata = Map<string, MetadataValue>

/** Arrays with an element a token. Most of a header, and nothing that weights or their graph depend on. */
const VOCABULARY = new Set(
  ['tokens', 'token_type', 'scores', 'merges'].map((name) => `tokenizer.ggml.${name}`),
)

export interface MetadataOptions {
  /** Pass the vocabulary's arrays over: for who has no text to read or write. Their keys are absent then. */
  readonly skipsVocabulary?: boolean
}

/**
 * Read `numKeyValues` entries.
 *
 * @returns values by key, in file order
 * @throws ServingError CHECKPOINT_TRUNCATED, CHECKPOINT_TOO_LARGE or CHECKPOINT_BAD_FIELD
 *
 * Cost: 98,000 strings take about 20 ms.
 */
export async function readMetadata(
  cursor: ByteCursor,
  numKeyValues: number,
  { skipsVocabulary = false }: MetadataOptions = {},
): Promise<Metadata> {
  const metadata: Metadata = new Map()
  for (let i = 0; i < numKeyValues; i++) {
    const offset = cursor.position
    const key = await readString(cursor, `metadata[${i}].key`, MAX_KEY_BYTES)
    if (key === '' || metadata.has(key)) {
      throw errorAt('CHECKPOINT_BAD_FIELD', {
        file: cursor.file,
        offset,
        field: `metadata[${i}].key`,
        expected: 'a key of its own',
        got: key === '' ? 'an empty key' : `a second ${quote(key)}`,
      })
    }
    const field = `metadata ${quote(key)}`
    await cursor.need(4, `${field}.type`)
    const type = cursor.u32()
    if (skipsVocabulary && type === ARRAY && VOCABULARY.has(key)) await skipArray(cursor, field)
    else metadata.set(key, await readValue(cursor, type, field, 0))
  }
  return metadata
}

/**
 * Read a string with its 64-bit length.
 *
 * @param maxBytes - longest that is accepted, bytes
 */
export async function readString(
  cursor: ByteCursor,
  field: string,
  maxBytes: number,
): Promise<string> {
  await cursor.need(8, `${field}.length`)
  const length = readLength(cursor, maxBytes, field)
  await cursor.need(length, field)
  return checkText(cursor, length, field)
}

async function readValue(
  cursor: ByteCursor,
  type: number,
  field: string,
  depth: number,
): Promise<MetadataValue> {
  if (type === STRING) return readString(cursor, field, MAX_STRING_BYTES)
  if (type === ARRAY) return readArray(cursor, field, depth)
  if (type === BOOL) {
    await cursor.need(1, field)
    return readBool(cursor, field)
  }
  const scalar = SCALARS[type]
  if (scalar === undefined) throw unknownType(cursor, type, field)
  await cursor.need(scalar.bytes, field)
  return scalar.read(cursor)
}

async function readArray(
  cursor: ByteCursor,
  field: string,
  depth: number,
): Promise<readonly MetadataValue[]> {
  await cursor.need(12, field)
  const type = cursor.u32()
  const smallestBytes = smallestElementBytes(cursor, type, field, depth)
  const count = readArrayCount(cursor, smallestBytes, field)
  if (type === STRING) return readStrings(cursor, count, field)
  if (type === ARRAY) {
    const arrays: MetadataValue[] = []
    for (let i = 0; i < count; i++) {
      arrays.push(await readArray(cursor, `${field}[${i}]`, depth + 1))
    }
    return arrays
  }
  return readScalars(cursor, type, count, field)
}

/** Checks counts and lengths as `readArray` does, and makes nothing of what is inside. */
async function skipArray(cursor: ByteCursor, field: string): Promise<void> {
  await cursor.need(12, field)
  const type = cursor.u32()
  const elementBytes = smallestElementBytes(cursor, type, field, MAX_ARRAY_DEPTH)
  const count = readArrayCount(cursor, elementBytes, field)
  if (type === STRING) return skipStrings(cursor, count, field)
  for (let leftBytes = count * elementBytes; leftBytes > 0; ) {
    const numBytes = Math.min(leftBytes, SKIPPED_BYTES)
    await cursor.need(numBytes, field)
    cursor.skip(numBytes)
    leftBytes -= numBytes
  }
}

async function skipStrings(cursor: ByteCursor, count: number, field: string): Promise<void> {
  for (let done = 0; ; done++) {
    done += cursor.skipTexts(count - done)
    if (done === count) return
    const element = `${field}[${done}]`
    await cursor.need(8, `${element}.length`)
    const length = readLength(cursor, MAX_STRING_BYTES, element)
    await cursor.need(length, element)
    cursor.skip(length)
  }
}

function smallestElementBytes(
  cursor: ByteCursor,
  type: number,
  field: string,
  depth: number,
): number {
  if (type === STRING) return SMALLEST_STRING_BYTES
  if (type === BOOL) return 1
  if (type !== ARRAY) {
    const scalar = SCALARS[type]
    if (scalar === undefined) throw unknownType(cursor, type, `${field}.elementType`)
    return scalar.bytes
  }
  if (depth + 1 < MAX_ARRAY_DEPTH) return SMALLEST_ARRAY_BYTES
  throw errorAt('CHECKPOINT_BAD_FIELD', {
    file: cursor.file,
    offset: cursor.position - 4,
    field,
    expected: `arrays nested at most ${MAX_ARRAY_DEPTH} deep`,
    got: 'deeper ones',
  })
}

function readArrayCount(cursor: ByteCursor, smallestBytes: number, field: string): number {
  const offset = cursor.position
  const count = cursor.u64()
  const possible = Math.min(Math.floor(cursor.remaining / smallestBytes), MAX_ARRAY_ELEMENTS)
  if (typeof count === 'number' && count <= possible) return count
  throw errorAt('CHECKPOINT_BAD_FIELD', {
    file: cursor.file,
    offset,
    field: `${field}.count`,
    expected: `at most ${possible} elements in the ${cursor.remaining} bytes behind it`,
    got: String(count),
  })
}

async function readStrings(cursor: ByteCursor, count: number, field: string): Promise<string[]> {
  const strings: string[] = []
  while (strings.length < count) {
    cursor.takeTexts(strings, count)
    if (strings.length === count) break
    // The one that the fast way left: at the end of the window, long, or wrong.
    const element = `${field}[${strings.length}]`
    strings.push(await readString(cursor, element, MAX_STRING_BYTES))
  }
  return strings
}

async function readScalars(
  cursor: ByteCursor,
  type: number,
  count: number,
  field: string,
): Promise<MetadataValue[]> {
  const scalar = type === BOOL ? undefined : (SCALARS[type] as ScalarType)
  const bytes = scalar?.bytes ?? 1
  const values: MetadataValue[] = []
  for (let i = 0; i < count; i++) {
    if (!cursor.has(bytes)) await cursor.need(bytes, `${field}[${i}]`)
    values.push(scalar === undefined ? readBool(cursor, field) : scalar.read(cursor))
  }
  return values
}

function readLength(cursor: ByteCursor, maxBytes: number, field: string): number {
  const length = cursor.u64()
  if (typeof length === 'number' && length <= maxBytes && length <= cursor.remaining) return length
  const isTooLong = length <= cursor.remaining
  throw errorAt(isTooLong ? 'CHECKPOINT_TOO_LARGE' : 'CHECKPOINT_TRUNCATED', {
    file: cursor.file,
    offset: cursor.position - 8,
    field: `${field}.length`,
    expected: `at most ${Math.min(maxBytes, cursor.remaining)} bytes`,
    got: String(length),
  })
}

function checkText(cursor: ByteCursor, length: number, field: string): string {
  const text = cursor.text(length)
  if (text !== undefined) return text
  throw errorAt('CHECKPOINT_BAD_FIELD', {
    file: cursor.file,
    offset: cursor.position - length,
    field,
    expected: 'UTF-8 text',
    got: `${length} bytes that are not UTF-8`,
  })
}

function readBool(cursor: ByteCursor, field: string): boolean {
  const value = cursor.u8()
  if (value <= 1) return value === 1
  throw errorAt('CHECKPOINT_BAD_FIELD', {
    file: cursor.file,
    offset: cursor.position - 1,
    field,
    expected: 'a boolean, 0 or 1',
    got: String(value),
  })
}

function unknownType(cursor: ByteCursor, type: number, field: string): Error {
  return errorAt('CHECKPOINT_BAD_FIELD', {
    file: cursor.file,
    offset: cursor.position - 4,
    field,
    expected: 'a GGUF value type, 0 to 12',
    got: String(type),
  })
}

/** Quoted for a message: control characters escaped, and cut, because the text is whatever the file says. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text)
}
