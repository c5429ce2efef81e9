/**
 * One safetensors file's index: the length, the JSON header, and each tensor's place, all checked against the file.
 *
 *   0        8             8 + N              file size
 *   │ N, u64 │ JSON header │ tensors, no gaps │
 *
 * Owns nothing. I1 `offset + byteLength ≤ size` for every tensor. I2 Tensors fill the data without gap or overlap, and
 * each is as long as its shape and dtype say. I3 Names are unique. Source: safetensors, README "Format" and `tensor.rs`.
 */

import type { MetadataValue } from '../checkpoint.ts'
import { errorAt } from '../errors.ts'
import { quote } from '../gguf/metadata.ts'
import type { StoredTensor } from '../quantized/stored-quantization.ts'
import { DTYPE_BYTES, OTHER_DTYPES } from './dtypes.ts'
import { type JsonObject, parseJsonObject } from './json-text.ts'
import { type OpenFile, withFile } from './read-file.ts'

/** Of the specification. */
const MAX_HEADER_BYTES = 100_000_000
const LENGTH_BYTES = 8
const FIELDS = ['dtype', 'shape', 'data_offsets']
/** Far above any tensor of a model; keeps products and messages short. */
const MAX_DIMS = 8

/** A header and where its parts are, for checks and for errors. */
interface Header {
  readonly file: string
  readonly json: Buffer
  readonly dataStart: number
  readonly fileSize: number
}

/**
 * Read the index of one file.
 *
 * @returns tensors by name, in the order of their bytes
 * @throws ServingError CHECKPOINT_TRUNCATED, CHECKPOINT_TOO_LARGE, CHECKPOINT_BAD_FIELD, CHECKPOINT_BAD_TENSOR,
 *   CHECKPOINT_UNSUPPORTED_TENSOR_TYPE, and what the file system can do
 *
 * Cost: reads the header only.
 */
export function readSafetensors(file: string): Promise<Map<string, StoredTensor>> {
  return withFile(file, async (opened) => {
    const header = await readHeader(opened)
    const place = { file, offset: LENGTH_BYTES, field: 'header' }
    const tensors: StoredTensor[] = []
    for (const [name, value] of parseJsonObject(header.json, place)) {
      if (name === '__metadata__') checkMetadata(header, value)
      else tensors.push(readTensor(header, name, value))
    }
    tensors.sort((a, b) => a.offset - b.offset || a.byteLength - b.byteLength)
    checkPlaces(header, tensors)
    return new Map(tensors.map((tensor) => [tensor.name, tensor]))
  })
}

async function readHeader({ file, size, read }: OpenFile): Promise<Header> {
  const place = { file, offset: 0, field: 'header length' }
  if (size < LENGTH_BYTES) {
    const expected = `${LENGTH_BYTES} bytes`
    const got = `the end of the file after ${size} bytes`
    throw errorAt('CHECKPOINT_TRUNCATED', { ...place, expected, got })
  }
  const length = (await read(0, LENGTH_BYTES)).readBigUInt64LE(0)
  if (length > BigInt(MAX_HEADER_BYTES)) {
    const expected = `at most ${MAX_HEADER_BYTES}`
    throw errorAt('CHECKPOINT_TOO_LARGE', { ...place, expected, got: String(length) })
  }
  const headerBytes = Number(length)
  const dataStart = LENGTH_BYTES + headerBytes
  if (dataStart > size) {
    const expected = `at most ${size - LENGTH_BYTES} in a file of ${size} bytes`
    throw errorAt('CHECKPOINT_TRUNCATED', { ...place, expected, got: String(length) })
  }
  const json = await read(LENGTH_BYTES, headerBytes)
  if (json[0] === 0x7b) return { file, json, dataStart, fileSize: size }
  const got = headerBytes === 0 ? 'nothing' : `byte ${json[0]}`
  throw errorAt('CHECKPOINT_BAD_FIELD', {
    file,
    offset: LENGTH_BYTES,
    field: 'header',
    expected: 'a JSON object that begins with {',
    got,
  })
}

function checkMetadata(header: Header, value: MetadataValue): void {
  const isTexts =
    value instanceof Map && [...value.values()].every((text) => typeof text === 'string')
  if (isTexts) return
  throw errorAt('CHECKPOINT_BAD_FIELD', {
    file: header.file,
    offset: offsetOf(header, '__metadata__'),
    field: '__metadata__',
    expected: 'an object of texts',
    got: shown(value),
  })
}

function readTensor(header: Header, name: string, value: MetadataValue): StoredTensor {
  if (!(value instanceof Map)) throw bad(header, name, '', 'an object', shown(value))
  const entry: JsonObject = value
  for (const key of entry.keys()) {
    if (!FIELDS.includes(key)) throw bad(header, name, '', `only ${FIELDS.join(', ')}`, quote(key))
  }
  const shape = readShape(header, name, entry.get('shape'))
  const dtype = readDtype(header, name, entry.get('dtype'))
  const [begin, end] = readOffsets(header, name, entry.get('data_offsets'))
  const numbers = shape.reduce((product, extent) => product * extent, 1)
  const byteLength = numbers * (DTYPE_BYTES.get(dtype) ?? 0)
  if (byteLength !== end - begin) {
    const whole = Number.isSafeInteger(byteLength) ? String(byteLength) : 'more than 2^53'
    const expected = `${whole} bytes for ${dtype} of shape [${shape.join(', ')}]`
    throw bad(header, name, 'data_offsets', expected, `${end - begin}`)
  }
  const { file, dataStart } = header
  return { name, dtype, shape, file, offset: dataStart + begin, byteLength }
}

function readShape(header: Header, name: string, value: MetadataValue | undefined): number[] {
  if (Array.isArray(value) && value.length <= MAX_DIMS && value.every(isCount)) return value
  const expected = `at most ${MAX_DIMS} whole numbers from 0 to 2^53`
  throw bad(header, name, 'shape', expected, shown(value))
}

function readDtype(header: Header, name: string, value: MetadataValue | undefined): string {
  if (typeof value === 'string' && DTYPE_BYTES.has(value)) return value
  const supported = [...DTYPE_BYTES.keys()].join(', ')
  if (typeof value !== 'string' || !OTHER_DTYPES.includes(value)) {
    throw bad(header, name, 'dtype', `one of ${supported}`, shown(value))
  }
  throw errorAt('CHECKPOINT_UNSUPPORTED_TENSOR_TYPE', {
    file: header.file,
    offset: offsetOf(header, name),
    field: `tensor ${quote(name)}.dtype`,
    expected: `one of ${supported}`,
    got: value,
    next: 'use the model in one of these formats',
  })
}

function readOffsets(
  header: Header,
  name: string,
  value: MetadataValue | undefined,
): [begin: number, end: number] {
  if (!Array.isArray(value) || value.length !== 2 || !value.every(isCount)) {
    throw bad(header, name, 'data_offsets', 'two whole numbers from 0 to 2^53', shown(value))
  }
  const [begin = 0, end = 0] = value
  const dataBytes = header.fileSize - header.dataStart
  if (begin <= end && end <= dataBytes) return [begin, end]
  const expected = `a range within the file's ${dataBytes} bytes of tensors`
  if (begin > end) throw bad(header, name, 'data_offsets', expected, `${begin} to ${end}`)
  throw errorAt('CHECKPOINT_TRUNCATED', {
    file: header.file,
    offset: offsetOf(header, name),
    field: `tensor ${quote(name)}.data_offsets`,
    expected,
    got: `${begin} to ${end}`,
  })
}

/** @param tensors - in the order of their bytes */
function checkPlaces(header: Header, tensors: readonly StoredTensor[]): void {
  let end = header.dataStart
  for (const { name, offset, byteLength } of tensors) {
    if (offset !== end) {
      const [at, expected] = [offset - header.dataStart, end - header.dataStart]
      const wanted = `it to begin at ${expected}, where the tensor before it ends`
      const kind = offset < end ? 'an overlap' : 'a gap'
      throw bad(header, name, 'data_offsets', wanted, `${at}, ${kind}`)
    }
    end += byteLength
  }
  if (end === header.fileSize) return
  throw errorAt('CHECKPOINT_BAD_FIELD', {
    file: header.file,
    offset: end,
    field: 'tensors',
    expected: `them to fill the file of ${header.fileSize} bytes`,
    got: `${header.fileSize - end} bytes behind the last one`,
  })
}

function isCount(value: MetadataValue): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function bad(header: Header, name: string, part: string, expected: string, got: string): Error {
  return errorAt('CHECKPOINT_BAD_TENSOR', {
    file: header.file,
    offset: offsetOf(header, name),
    field: `tensor ${quote(name)}${part === '' ? '' : `.${part}`}`,
    expected,
    got,
  })
}

/** Where the header names the tensor; the header's own place when it spells the name with escapes. */
function offsetOf({ json }: Header, name: string): number {
  return LENGTH_BYTES + Math.max(0, json.indexOf(JSON.stringify(name)))
}

/** Headers are hostile input: a megabyte of it does not belong in a message. */
function shown(value: MetadataValue | undefined): string {
  if (value === undefined) return 'nothing'
  if (value instanceof Map) return 'an object'
  if (!Array.isArray(value)) return quote(String(value))
  const text = value.slice(0, 9).map((element) => (typeof element === 'object' ? '…' : element))
  return quote(`[${text.join(', ')}${value.length > 9 ? ', …' : ''}]`)
}
