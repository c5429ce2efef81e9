/** The few file operations that the history needs, behind an interface so that a full disk can be tested. */

import { mkdir, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type AppendFile, DiskFile } from './append-file.ts'

export interface HistoryFile extends AppendFile {
  read(): Promise<Buffer>
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
    return new HistoryDiskFile(handle)
  },
}

class HistoryDiskFile extends DiskFile implements HistoryFile {
  async read(): Promise<Buffer> {
    const { size } = await this.handle.stat()
    const bytes = Buffer.alloc(size)
    let length = 0
    while (length < size) {
      const { bytesRead } = await this.handle.read(bytes, length, size - length, length)
      if (bytesRead === 0) break
      length += bytesRead
    }
    return bytes.subarray(0, length)
  }
}
