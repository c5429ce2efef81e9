/** A file that is only ever written at its end, and what may be asked of it. Owns its handle. */

import type { FileHandle } from 'node:fs/promises'

export interface AppendFile {
  /** Write some of `bytes` from `start` on at the file's end; returns how many it wrote, at least 1. */
  write(bytes: Uint8Array, start: number): Promise<number>
  sizeBytes(): Promise<number>
  truncate(sizeBytes: number): Promise<void>
  datasync(): Promise<void>
  close(): Promise<void>
}

export class DiskFile implements AppendFile {
  protected readonly handle: FileHandle

  constructor(handle: FileHandle) {
    this.handle = handle
  }

  async write(bytes: Uint8Array, start: number): Promise<number> {
    const { bytesWritten } = await this.handle.write(bytes, start, bytes.length - start)
    return bytesWritten
  }

  async sizeBytes(): Promise<number> {
    return (await this.handle.stat()).size
  }

  truncate(sizeBytes: number): Promise<void> {
    return this.handle.truncate(sizeBytes)
  }

  datasync(): Promise<void> {
    return this.handle.datasync()
  }

  close(): Promise<void> {
    return this.handle.close()
  }
}
