/**
 * The first 24 bytes of a GGUF file: magic, version, and how many tensors and key-values follow.
 *
 * Versions 2 and 3, little-endian. Version 1 (32-bit lengths, 2023) and big-endian files are refused by name.
 * I1: both counts have been checked against what the rest of the file could hold at most.
 * Source: ggml, docs/gguf.md.
 */

import { errorAt } from '../errors.ts'
import type { ByteCursor } from './byte-cursor.ts'

/** `GGUF` as bytes. */
export const GGUF_MAGIC = 0x4655_4747
export const GGUF_HEADER_BYTES = 24

/** Smallest encodings: name length 8 + 1, dims 4 + 8, type 4, offset 8; key length 8 + 1, type 4, value 1. */
const SMALLEST_TENSOR_INFO_BYTES = 33
const SMALLEST_KEY_VALUE_BYTES = 14

/** Far above any known model (unmerged experts reach about 50,000), small enough to hold in memory. */
const MAX_TENSORS = 1 << 20
const MAX_KEY_VALUES = 1 << 16

export interface GgufHeader {
  readonly version: 2 | 3
  readonly numTensors: number
  readonly numKeyValues: number
}

/**
 * Read and check the header.
 *
 * @throws ServingError CHECKPOINT_TRUNCATED, CHECKPOINT_BAD_MAGIC, CHECKPOINT_UNSUPPORTED_VERSION, CHECKPOINT_BAD_FIELD
 */
export async function readHeader(cursor: ByteCursor): Promise<GgufHeader> {
  await cursor.need(GGUF_HEADER_BYTES, 'header')
  const magic = cursor.u32()
  if (magic !== GGUF_MAGIC) {
    throw errorAt('CHECKPOINT_BAD_MAGIC', {
      file: cursor.file,
      offset: 0,
      field: 'magic',
      expected: '"GGUF" (47 47 55 46)',
      got: hexBytes(magic),
      next: 'give the path of a GGUF file',
    })
  }
  const version = checkVersion(cursor, cursor.u32())
  const numTensors = readCount(cursor, 'tensor count', SMALLEST_TENSOR_INFO_BYTES, MAX_TENSORS)
  const numKeyValues = readCount(cursor, 'metadata count', SMALLEST_KEY_VALUE_BYTES, MAX_KEY_VALUES)
  return { version, numTensors, numKeyValues }
}

function checkVersion(cursor: ByteCursor, version: number): 2 | 3 {
  if (version === 2 || version === 3) return version
  // A big-endian file has its small version number in the highest byte.
  const isBigEndian = (version & 0xffff) === 0 && version !== 0
  throw errorAt('CHECKPOINT_UNSUPPORTED_VERSION', {
    file: cursor.file,
    offset: 4,
    field: 'version',
    expected: 'GGUF version 2 or 3, little-endian',
    got: isBigEndian ? `a big-endian file (version ${version >>> 24})` : `version ${version}`,
    next: isBigEndian
      ? 'convert it to little-endian with gguf-py gguf_convert_endian.py'
      : 'convert the model again with a current llama.cpp',
  })
}

function readCount(cursor: ByteCursor, field: string, smallestBytes: number, max: number): number {
  const offset = cursor.position
  const count = cursor.u64()
  const possible = Math.min(Math.floor((cursor.fileSize - GGUF_HEADER_BYTES) / smallestBytes), max)
  if (typeof count === 'number' && count <= possible) return count
  throw errorAt('CHECKPOINT_BAD_FIELD', {
    file: cursor.file,
    offset,
    field,
    expected: `at most ${possible} in a file of ${cursor.fileSize} bytes`,
    got: String(count),
  })
}

function hexBytes(word: number): string {
  const bytes = [0, 8, 16, 24].map((shift) => (word >>> shift) & 0xff)
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(' ')
}
