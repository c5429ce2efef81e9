/**
 * Reads a file's head from front to back through one window that grows and slides.
 *
 * Owns the file handle's window; knows little-endian numbers and UTF-8, and nothing of GGUF's structure.
 *
 *   file    0 ─────── windowStart ──── position ──── windowEnd ─────── fileSize
 *   window             └ consumed ─────┘└ unread ────┘└ on disk ───────┘
 *
 * I1: a window is only made for bytes that the file was seen to have: no length out of the file allocates by itself.
 * I2: `position` never passes `fileSize`, and never passes `limitBytes`.
 * I3: synchronous reads happen only after `has` or `need` said that the bytes are in the window.
 */

import { isUtf8 } from 'node:buffer'
import type { FileHandle } from 'node:fs/promises'
import { invariant } from '../../base/errors.ts'
import { checkpointError, errorAt, readFailure } from '../errors.ts'

const FIRST_WINDOW_BYTES = 64 * 1024
/** Windows double up to here; a longer single value gets a window of its own size. */
const LARGEST_WINDOW_BYTES = 1024 * 1024

export interface ByteCursorOptions {
  readonly file: string
  readonly handle: FileHandle
  readonly fileSize: number
  /** Bytes that may be read at most; beyond is CHECKPOINT_TOO_LARGE. */
  readonly limitBytes: number
}

export class ByteCursor {
  readonly file: string
  readonly fileSize: number
  private readonly handle: FileHandle
  private readonly limitBytes: number
  private window: Buffer
  private windowStart: number
  private cursor: number
  private filled: number
  private nextWindowBytes: number

  constructor(options: ByteCursorOptions) {
    this.file = options.file
    this.fileSize = options.fileSize
    this.handle = options.handle
    this.limitBytes = options.limitBytes
    this.window = Buffer.alloc(0)
    this.windowStart = 0
    this.cursor = 0
    this.filled = 0
    this.nextWindowBytes = FIRST_WINDOW_BYTES
  }

  /** Byte of the file that is read next. */
  get position(): number {
    return this.windowStart + this.cursor
  }

  /** Bytes of the file behind `position`. */
  get remaining(): number {
    return this.fileSize - this.position
  }

  /** Whether the next `numBytes` are in the window, so that synchronous reads may follow. */
  has(numBytes: number): boolean {
    return this.filled - this.cursor >= numBytes
  }

  /**
   * Bring the next `numBytes` into the window.
   *
   * @param field - what is being read, for the error
   * @throws ServingError CHECKPOINT_TRUNCATED when the file ends before, CHECKPOINT_TOO_LARGE beyond the limit
   */
  async need(numBytes: number, field: string): Promise<void> {
    if (this.has(numBytes)) return
    const { position, remaining, file } = this
    if (numBytes > remaining) {
      throw errorAt('CHECKPOINT_TRUNCATED', {
        file,
        offset: position,
        field,
        expected: `${numBytes} bytes`,
        got: `the end of the file after ${remaining} bytes`,
      })
    }
    if (position + numBytes > this.limitBytes) {
      throw errorAt('CHECKPOINT_TOO_LARGE', {
        file,
        offset: position,
        field,
        expected: `a header of at most ${this.limitBytes} bytes`,
        got: `at least ${position + numBytes} bytes`,
        next: 'no known model needs as much, so the file is not trusted',
      })
    }
    await this.slide(numBytes)
  }

  u8(): number {
    return this.window.readUInt8(this.advance(1))
  }

  i8(): number {
    return this.window.readInt8(this.advance(1))
  }

  u16(): number {
    return this.window.readUInt16LE(this.advance(2))
  }

  i16(): number {
    return this.window.readInt16LE(this.advance(2))
  }

  u32(): number {
    return this.window.readUInt32LE(this.advance(4))
  }

  i32(): number {
    return this.window.readInt32LE(this.advance(4))
  }

  f32(): number {
    return this.window.readFloatLE(this.advance(4))
  }

  f64(): number {
    return this.window.readDoubleLE(this.advance(8))
  }

  /** Unsigned 64 bits: a number while it is exact, a bigint beyond 2^53. */
  u64(): number | bigint {
    const start = this.advance(8)
    const high = this.window.readUInt32LE(start + 4)
    if (high < 0x20_0000) return high * 0x1_0000_0000 + this.window.readUInt32LE(start)
    return this.window.readBigUInt64LE(start)
  }

  /** Signed 64 bits: a number while it is exact, a bigint beyond ±2^53. */
  i64(): number | bigint {
    const value = this.window.readBigInt64LE(this.advance(8))
    const number = Number(value)
    return Number.isSafeInteger(number) ? number : value
  }

  /** UTF-8 text of `numBytes`, or `undefined` when the bytes are not UTF-8. A byte order mark is kept. */
  text(numBytes: number): string | undefined {
    const start = this.advance(numBytes)
    const end = start + numBytes
    const text = this.window.toString('utf8', start, end)
    // Only a text with a replacement character can have lost bytes, so all others need no second look.
    if (text.includes('\ufffd') && !isUtf8(this.window.subarray(start, end))) return undefined
    return text
  }

  /**
   * Append length-prefixed texts to `texts` until there are `total` or the next one needs a closer look: it is not
   * whole in the window, or not UTF-8. That one is left to `u64` and `text`, where errors are made.
   *
   * Cost: one loop without calls, because a vocabulary's 98,000 strings are read before anything is compiled hot.
   */
  takeTexts(texts: string[], total: number): void {
    const { window, filled } = this
    let at = this.cursor
    while (texts.length < total && filled - at >= 8) {
      // Lengths of 2^24 and more never lie whole in the window and take the slow way with all their checks.
      const length =
        (window[at] as number) |
        ((window[at + 1] as number) << 8) |
        ((window[at + 2] as number) << 16)
      const isLong = (window[at + 3] as number) !== 0 || window.readUInt32LE(at + 4) !== 0
      const end = at + 8 + length
      if (isLong || end > filled) break
      const text = window.toString('utf8', at + 8, end)
      if (text.includes('\ufffd')) break
      texts.push(text)
      at = end
    }
    this.cursor = at
  }

  /**
   * Pass over strings that lie whole in the window, at most `total`, without looking at their text.
   *
   * @returns how many
   */
  skipTexts(total: number): number {
    const { window, filled } = this
    let at = this.cursor
    let count = 0
    while (count < total && filled - at >= 8) {
      const length = window.readUInt32LE(at)
      const end = at + 8 + length
      if (window.readUInt32LE(at + 4) !== 0 || end > filled) break
      at = end
      count += 1
    }
    this.cursor = at
    return count
  }

  /** Pass over bytes that are in the window. */
  skip(numBytes: number): void {
    this.advance(numBytes)
  }

  private advance(numBytes: number): number {
    invariant(this.has(numBytes), 'byte-cursor I3', 'read without need')
    const start = this.cursor
    this.cursor += numBytes
    return start
  }

  private async slide(numBytes: number): Promise<void> {
    const unread = this.filled - this.cursor
    const windowBytes = Math.min(Math.max(this.nextWindowBytes, numBytes), this.remaining)
    const next = Buffer.allocUnsafe(windowBytes)
    this.window.copy(next, 0, this.cursor, this.filled)
    const position = this.position
    let filled = unread
    while (filled < windowBytes) {
      const bytesRead = await this.read(next, filled, position + filled)
      filled += bytesRead
    }
    this.window = next
    this.windowStart = position
    this.cursor = 0
    this.filled = filled
    this.nextWindowBytes = Math.min(this.nextWindowBytes * 2, LARGEST_WINDOW_BYTES)
  }

  private async read(into: Buffer, start: number, filePosition: number): Promise<number> {
    const { file, fileSize } = this
    let bytesRead: number
    try {
      ;({ bytesRead } = await this.handle.read(into, start, into.length - start, filePosition))
    } catch (cause) {
      throw readFailure(file, filePosition, cause)
    }
    if (bytesRead === 0) {
      const details = { file, expected: fileSize, got: filePosition }
      throw checkpointError('CHECKPOINT_CHANGED', { details })
    }
    return bytesRead
  }
}
