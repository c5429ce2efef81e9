/**
 * JSON that nobody vouches for, as metadata values: looked through before it is parsed, so that a hostile text cannot
 * make more than its own measure of memory, and so that a key given twice is seen.
 *
 * Knows JSON; knows nothing of tensors. `JSON.parse` alone keeps the last of two equal keys without a word.
 * J1 Before `JSON.parse` runs, depth and number of values are bounded and no object has a key twice.
 */

import { isUtf8 } from 'node:buffer'
import type { MetadataValue } from '../checkpoint.ts'
import { errorAt } from '../errors.ts'
import { quote } from '../gguf/metadata.ts'

/** One of Hugging Face's files nests six deep at most. */
const MAX_DEPTH = 32
/** 2^18 tensors of a header take a dozen each. */
const MAX_VALUES = 1 << 22

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COLON = 0x3a
const COMMA = 0x2c
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d
const OPEN_LIST = 0x5b
const CLOSE_LIST = 0x5d

export type JsonObject = ReadonlyMap<string, MetadataValue>

export interface JsonPlace {
  readonly file: string
  /** Where the text begins in the file, bytes. */
  readonly offset: number
  /** What the text is, for errors. */
  readonly field: string
}

/**
 * Parse a text whose outermost value is an object.
 *
 * @returns its members in the text's order; numbers are IEEE doubles, so whole ones are exact up to 2^53 only
 * @throws ServingError CHECKPOINT_BAD_FIELD
 *
 * Cost: two passes; memory at most about 50 times 2^22 bytes.
 */
export function parseJsonObject(bytes: Buffer, place: JsonPlace): JsonObject {
  lookThrough(bytes, place)
  if (!isUtf8(bytes)) throw badJson(place, 0, 'UTF-8 text', 'other bytes')
  let value: unknown
  try {
    value = JSON.parse(bytes.toString('utf8'))
  } catch (cause) {
    throw badJson(place, 0, 'a JSON object', shortReason(cause))
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw badJson(place, 0, 'a JSON object', Array.isArray(value) ? 'a list' : String(value))
  }
  return toMetadata(value) as JsonObject
}

/**
 * One pass over the bytes that needs no validity: in a text that is not JSON it may miscount, and parsing then fails.
 */
function lookThrough(bytes: Buffer, place: JsonPlace): void {
  // The keys of each open object; `null` for a list.
  const open: (Set<string> | null)[] = []
  let numValues = 0
  for (let at = 0; at < bytes.length; at++) {
    switch (bytes[at]) {
      case QUOTE: {
        const end = endOfString(bytes, at)
        const keys = open.at(-1)
        if (keys && isKey(bytes, end)) noteKey(keys, bytes.subarray(at, end), place, at)
        at = end - 1
        break
      }
      case OPEN_OBJECT:
      case OPEN_LIST:
        open.push(bytes[at] === OPEN_OBJECT ? new Set() : null)
        numValues += 1
        if (open.length > MAX_DEPTH) throw badJson(place, at, `at most ${MAX_DEPTH} levels`, 'more')
        break
      case CLOSE_OBJECT:
      case CLOSE_LIST:
        open.pop()
        break
      case COMMA:
        numValues += 1
        break
    }
    if (numValues > MAX_VALUES) throw badJson(place, at, `at most ${MAX_VALUES} values`, 'more')
  }
}

/** Behind the closing quote; the end of the bytes when there is none. */
function endOfString(bytes: Buffer, start: number): number {
  for (let at = start + 1; at < bytes.length; at++) {
    if (bytes[at] === BACKSLASH) at += 1
    else if (bytes[at] === QUOTE) return at + 1
  }
  return bytes.length
}

function isKey(bytes: Buffer, behindString: number): boolean {
  let at = behindString
  while (at < bytes.length && (bytes[at] as number) <= 0x20) at += 1
  return bytes[at] === COLON
}

function noteKey(keys: Set<string>, quoted: Buffer, place: JsonPlace, at: number): void {
  let key: string
  try {
    // Two spellings of one key, such as "a" and "\u0061", are the same key.
    key = JSON.parse(quoted.toString('utf8'))
  } catch (cause) {
    throw badJson(place, at, 'a key', shortReason(cause))
  }
  if (keys.has(key)) throw badJson(place, at, 'each key once', `${quote(key)} a second time`)
  keys.add(key)
}

function toMetadata(value: unknown): MetadataValue {
  if (Array.isArray(value)) return value.map(toMetadata)
  if (typeof value !== 'object' || value === null) return value as MetadataValue
  // A Map has no prototype, so that no name in a file can reach one.
  return new Map(Object.entries(value).map(([key, member]) => [key, toMetadata(member)]))
}

/** V8's reason without the piece of the text that it quotes. */
function shortReason(cause: unknown): string {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return quote(reason.replace(/, (?:\.\.\.)?"[\s\S]*$/, ''))
}

function badJson(place: JsonPlace, at: number, expected: string, got: string): Error {
  const { file, field, offset } = place
  return errorAt('CHECKPOINT_BAD_FIELD', { file, offset: offset + at, field, expected, got })
}
