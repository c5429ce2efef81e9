/** The few file operations that the history needs, behind an interface so that a full disk can be tested. */

import { type FileHandle, mkdir, open } from 'node:fs/promises'
import { dirname } from 'node:path'

export interface HistoryFile {
  read(): Promise<Buffer>
  /** Write some of `bytes` from `start` on at the file's end; returns how many it wrote, at least 1. */
  write(bytes: Uint8Array, start: number): Promise<number>
  sizeBytes(): Promise<number>
  truncate(sizeBytes: number): Promise<void>
  datasync(): Promise<void>
  close(): Promise<void>
}

export interface HistoryFiles {
  /** For reading and appending; the file (mode 600) and its folder are made when missing, durably. */
  open(path: string): Promise<HistoryFile>
}

export const historyDisk: HistoryFiles = {
  async open(path) {
    await mkdir(dirname(path), { recursive: true })
    const handle = await open(path, 'a+', 0o600)
    // Its name in the folder must last as well as what is written into it.
    const folder = await open(dirname(path), 'r')
    try {
      await folder.sync()
    } finally {
      await folder.close()
    }
    return new DiskFile(handle)
  },
}

class DiskFile implements HistoryFile {
  readonly #handle: FileHandle

  constructor(handle: FileHandle) {
    this.#handle = handle
  }

  async read(): Promise<Buffer> {
    const { size } = await this.#handle.stat()
    const bytes = Buffer.alloc(size)
    let length = 0
    while (length < size) {
      const { bytesRead } = await this.#handle.read(bytes, length, size - length, length)
      if (bytesRead === 0) break
      length += bytesRead
    }
    return bytes.subarray(0, length)
  }

  async write(bytes: Uint8Array, start: number): Promise<number> {
    const { bytesWritten } = await this.#handle.write(bytes, start, bytes.length - start)
    return bytesWritten
  }

  async sizeBytes(): Promise<number> {
    return (await this.#handle.stat()).size
  }

  truncate(sizeBytes: number): Promise<void> {
    return this.#handle.truncate(sizeBytes)
  }

  datasync(): Promise<void> {
    return this.#handle.datasync()
  }

  close(): Promise<void> {
    return this.#handle.close()
  }
}
