/**
 * Writes a safetensors file whose tensors become known one after the other, in any order: the header with every name,
 * type and shape first, then each tensor's bytes at its place. Owns the open file until `close`.
 *
 * T1 `close` refuses a file that lacks a tensor.
 */

import { type FileHandle, open } from 'node:fs/promises'
import { invariant } from '../../base/errors.ts'
import type { StoredTensor } from './compressed-layout.ts'

const BYTES = { I64: 8, F32: 4, I32: 4, BF16: 2, F16: 2 } as const

export class TensorFile {
  readonly #handle: FileHandle
  readonly #places = new Map<string, { readonly at: number; readonly bytes: number }>()
  readonly bytes: number

  private constructor(
    handle: FileHandle,
    places: ReadonlyMap<string, { readonly at: number; readonly bytes: number }>,
    bytes: number,
  ) {
    this.#handle = handle
    for (const [name, place] of places) this.#places.set(name, place)
    this.bytes = bytes
  }

  static async create(
    path: string,
    tensors: readonly StoredTensor[],
    metadata: Readonly<Record<string, string>>,
  ): Promise<TensorFile> {
    const header: Record<string, unknown> = { __metadata__: metadata }
    const places = new Map<string, { at: number; bytes: number }>()
    let end = 0
    for (const { name, dtype, shape } of tensors) {
      const bytes = shape.reduce<number>((product, extent) => product * extent, BYTES[dtype])
      header[name] = { dtype, shape, data_offsets: [end, end + bytes] }
      places.set(name, { at: end, bytes })
      end += bytes
    }
    let json = Buffer.from(JSON.stringify(header))
    // Data begins at a multiple of 8, as the format's own writer sees to.
    json = Buffer.concat([json, Buffer.alloc((8 - (json.length % 8)) % 8, ' ')])
    const length = Buffer.alloc(8)
    length.writeBigUInt64LE(BigInt(json.length))
    const handle = await open(path, 'wx')
    const start = 8 + json.length
    for (const place of places.values()) place.at += start
    try {
      await writeAll(handle, Buffer.concat([length, json]), 0)
      return new TensorFile(handle, places, start + end)
    } catch (cause) {
      await handle.close()
      throw cause
    }
  }

  /** Once for each tensor. */
  async write(name: string, bytes: Uint8Array): Promise<void> {
    const place = this.#places.get(name)
    invariant(place?.bytes === bytes.byteLength, 'T1', `${name} is written once, with its bytes`)
    this.#places.delete(name)
    await writeAll(this.#handle, bytes, place.at)
  }

  async close(): Promise<void> {
    const [missing] = this.#places.keys()
    invariant(missing === undefined, 'T1', `${missing} was never written`)
    await this.#handle.sync()
    await this.#handle.close()
  }

  /** Give up; the file is left for whoever removes its folder. */
  async abandon(): Promise<void> {
    await this.#handle.close().catch(() => {})
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.byteLength; ) {
    const left = bytes.byteLength - done
    done += (await handle.write(bytes, done, left, position + done)).bytesWritten
  }
}
