/**
 * Writes protobuf's wire format: tagged fields into one growing buffer. Knows wire types, not messages.
 *
 * Owns the buffer until `finish`. Fields come out in the order they are written, which every reader must accept.
 * I1 Numbers are written as they are: integers must be safe and ≥ 0, so a varint never needs sign extension.
 * Source: protobuf.dev/programming-guides/encoding.
 */

import { invariant } from '../../base/errors.ts'

const VARINT = 0
const LENGTH_DELIMITED = 2
const FIXED_32 = 5

const encoder = new TextEncoder()

export class ProtobufWriter {
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(256)
  #length = 0

  /** int32, int64, enum or bool. @param value - 0 ≤ value < 2^53 */
  integer(field: number, value: number): this {
    this.#tag(field, VARINT)
    this.#varint(value)
    return this
  }

  /** A float, rounded to 32 bits. */
  float(field: number, value: number): this {
    this.#tag(field, FIXED_32)
    this.#reserve(4)
    new DataView(this.#bytes.buffer).setFloat32(this.#length, value, true)
    this.#length += 4
    return this
  }

  /** string, or bytes that hold UTF-8. */
  text(field: number, value: string): this {
    return this.bytes(field, encoder.encode(value))
  }

  bytes(field: number, value: Uint8Array): this {
    this.#tag(field, LENGTH_DELIMITED)
    this.#varint(value.length)
    this.#reserve(value.length)
    this.#bytes.set(value, this.#length)
    this.#length += value.length
    return this
  }

  /** An embedded message, filled by `write`. Cost: one copy of its bytes for each level above it. */
  message(field: number, write: (writer: ProtobufWriter) => void): this {
    const inner = new ProtobufWriter()
    write(inner)
    return this.bytes(field, inner.finish())
  }

  /** A view of what was written; the writer is not used afterwards. */
  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  #tag(field: number, wireType: number): void {
    this.#varint(field * 8 + wireType)
  }

  #varint(value: number): void {
    invariant(Number.isSafeInteger(value) && value >= 0, 'I1', 'a varint is no safe whole number')
    this.#reserve(8)
    let rest = value
    while (rest >= 128) {
      this.#bytes[this.#length++] = (rest % 128) + 128
      rest = Math.floor(rest / 128)
    }
    this.#bytes[this.#length++] = rest
  }

  #reserve(numBytes: number): void {
    const needed = this.#length + numBytes
    if (needed <= this.#bytes.length) return
    const grown = new Uint8Array(Math.max(needed, 2 * this.#bytes.length))
    grown.set(this.#bytes.subarray(0, this.#length))
    this.#bytes = grown
  }
}
