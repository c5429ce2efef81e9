/**
 * Reads protobuf's wire format out of a file, field by field, without loading what nobody asks for: a field of two
 * gigabytes is stepped over.
 *
 * Owns one window of the file, which is read at once: a pause for each of some 100,000 fields would cost ten times the
 * reading. Knows wire types and byte ranges, not messages.
 * Invariants:
 * R1 No length out of the file allocates by itself: a field must lie inside of its message, a message inside of the
 *    file, and text is bounded by the caller.
 * R2 Work is bounded: no file has more than MAX_FIELDS fields, whatever their lengths say.
 * Source: protobuf.dev/programming-guides/encoding.
 */

import { isUtf8 } from 'node:buffer'
import { errorAt } from '../errors.ts'
import type { OpenFile } from '../safetensors/read-file.ts'

const VARINT = 0
const FIXED_64 = 1
const LENGTH_DELIMITED = 2
const FIXED_32 = 5

const WINDOW_BYTES = 256 * 1024
const MAX_VARINT_BYTES = 10
/** The largest exported decoders have about 300,000. */
const MAX_FIELDS = 4_000_000

/** Bytes of a message in the file. */
export interface WireRange {
  readonly start: number
  readonly end: number
}

export interface WireField extends WireRange {
  readonly number: number
  /** The integer of a varint; `null` for every other wire type. Unsigned, and inexact from 2^53 on. */
  readonly integer: number | null
  /** Whether `start` to `end` hold a text, bytes or a message. */
  readonly isDelimited: boolean
}

export class WireReader {
  readonly file: string
  readonly size: number
  readonly #source: OpenFile
  #window: Buffer = Buffer.alloc(0)
  #windowStart = 0
  #numFields = 0

  constructor(source: OpenFile) {
    this.#source = source
    this.file = source.file
    this.size = source.size
  }

  /**
   * The fields of a message, in order.
   *
   * @param what - name of the message, for errors
   * @throws ServingError CHECKPOINT_BAD_FIELD, CHECKPOINT_TRUNCATED, CHECKPOINT_TOO_LARGE, those of reading
   */
  *fields({ start, end }: WireRange, what: string): Generator<WireField> {
    let at = start
    while (at < end) {
      this.#numFields += 1
      if (this.#numFields > MAX_FIELDS) throw this.#tooMany(at)
      const tag = this.#varint(at, end, `a tag of ${what}`)
      const number = Math.floor(tag.value / 8)
      if (number < 1 || number > 0x1fff_ffff)
        throw this.bad(at, `a tag of ${what}`, 'a field', `${number}`)
      const field = this.#field(tag.value % 8, number, tag.end, end, what)
      yield field
      at = field.end
    }
  }

  /** A text field of at most `limitBytes`. */
  text({ start, end }: WireRange, what: string, limitBytes: number): string {
    const numBytes = end - start
    if (numBytes > limitBytes) {
      throw this.bad(start, what, `a text of at most ${limitBytes} bytes`, `${numBytes} bytes`)
    }
    const bytes = this.#bytes(start, numBytes)
    if (!isUtf8(bytes)) throw this.bad(start, what, 'UTF-8 text', 'other bytes')
    return bytes.toString('utf8')
  }

  /** The integers of one occurrence of a repeated field, packed or not. */
  integers(field: WireField, what: string, limit: number): readonly number[] {
    if (field.integer !== null) return [field.integer]
    if (!field.isDelimited) throw this.bad(field.start, what, 'integers', 'another wire type')
    const values: number[] = []
    for (let at = field.start; at < field.end; ) {
      if (values.length === limit) throw this.bad(at, what, `at most ${limit} integers`, 'more')
      const { value, end } = this.#varint(at, field.end, what)
      values.push(value)
      at = end
    }
    return values
  }

  /** An error at a byte of this file. */
  bad(offset: number, field: string, expected: string, got: string): Error {
    return errorAt('CHECKPOINT_BAD_FIELD', { file: this.file, offset, field, expected, got })
  }

  #field(wireType: number, number: number, at: number, limit: number, what: string): WireField {
    const name = `field ${number} of ${what}`
    if (wireType === VARINT) {
      const { value, end } = this.#varint(at, limit, name)
      return { number, integer: value, isDelimited: false, start: at, end }
    }
    if (wireType === FIXED_32 || wireType === FIXED_64) {
      const end = at + (wireType === FIXED_32 ? 4 : 8)
      if (end > limit) throw this.#truncated(at, name, end - at, limit)
      return { number, integer: null, isDelimited: false, start: at, end }
    }
    if (wireType !== LENGTH_DELIMITED) {
      throw this.bad(at, name, 'a wire type of 0, 1, 2 or 5', `${wireType}`)
    }
    const length = this.#varint(at, limit, `the length of ${name}`)
    const end = length.end + length.value
    if (!(end <= limit)) throw this.#truncated(length.end, name, length.value, limit)
    return { number, integer: null, isDelimited: true, start: length.end, end }
  }

  #varint(at: number, limit: number, what: string): { value: number; end: number } {
    this.#fill(at, Math.min(MAX_VARINT_BYTES, limit - at))
    let value = 0
    let scale = 1
    for (let index = 0; index < MAX_VARINT_BYTES; index++) {
      if (at + index >= limit) throw this.#truncated(at, what, index + 1, limit)
      const byte = this.#window[at + index - this.#windowStart] as number
      value += (byte % 128) * scale
      if (byte < 128) return { value, end: at + index + 1 }
      scale *= 128
    }
    throw this.bad(at, what, `a varint of at most ${MAX_VARINT_BYTES} bytes`, 'a longer one')
  }

  #bytes(start: number, numBytes: number): Buffer {
    this.#fill(start, numBytes)
    const from = start - this.#windowStart
    return this.#window.subarray(from, from + numBytes)
  }

  /** Bring bytes that the file has into the window. */
  #fill(start: number, numBytes: number): void {
    const windowEnd = this.#windowStart + this.#window.length
    if (start >= this.#windowStart && start + numBytes <= windowEnd) return
    const length = Math.min(Math.max(WINDOW_BYTES, numBytes), this.size - start)
    this.#window = this.#source.readNow(start, length)
    this.#windowStart = start
  }

  #truncated(offset: number, field: string, numBytes: number, limit: number): Error {
    return errorAt('CHECKPOINT_TRUNCATED', {
      file: this.file,
      offset,
      field,
      expected: `${numBytes} bytes`,
      got: `the end of its message after ${limit - offset}`,
    })
  }

  #tooMany(offset: number): Error {
    return errorAt('CHECKPOINT_TOO_LARGE', {
      file: this.file,
      offset,
      field: 'the graph',
      expected: `at most ${MAX_FIELDS} fields`,
      got: 'more',
      next: 'no known model needs as much, so the file is not trusted',
    })
  }
}
