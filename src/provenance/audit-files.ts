/**
 * The few file operations that the audit log needs, behind an interface so that a full disk can be tested.
 *
 * Owns nothing; a handle belongs to who opened it. Does not know records or batches.
 */

import { type FileHandle, mkdir, open, rename } from 'node:fs/promises'
import { dirname } from 'node:path'

export interface AuditFile {
  /** Write some of `bytes` from `start` on at the file's end; returns how many it wrote, at least 1. */
  write(bytes: Uint8Array, start: number): Promise<number>
  sizeBytes(): Promise<number>
  truncate(sizeBytes: number): Promise<void>
  datasync(): Promise<void>
  close(): Promise<void>
}

export interface AuditFiles {
  /** Open for appending, making the file (mode 600: records say who asked what model) and its folder when missing. */
  openForAppend(path: string): Promise<AuditFile>
  /** Whether the file's last byte is something else than a line break: an earlier process died in the middle. */
  endsTorn(path: string): Promise<boolean>
  rename(from: string, to: string): Promise<void>
}

export const diskFiles: AuditFiles = {
  async openForAppend(path) {
    await mkdir(dirname(path), { recursive: true })
    return new DiskFile(await open(path, 'a', 0o600))
  },
  async endsTorn(path) {
    const handle = await open(path, 'r')
    try {
      const { size } = await handle.stat()
      if (size === 0) return false
      const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, size - 1)
      return buffer[0] !== 0x0a
    } finally {
      await handle.close()
    }
  },
  rename,
}

class DiskFile implements AuditFile {
  readonly #handle: FileHandle

  constructor(handle: FileHandle) {
    this.#handle = handle
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

/** `audit.jsonl` at 2026-01-02T03:04:05.678Z becomes `audit.20260102T030405678Z-<serial>.jsonl`, which sorts by time. */
export function rotatedName(path: string, wallMs: number, serial: number): string {
  const stamp = new Date(wallMs).toISOString().replaceAll(/[-:.]/g, '')
  const dot = path.lastIndexOf('.')
  const hasExtension = dot > path.lastIndexOf('/') + 1
  const stem = hasExtension ? path.slice(0, dot) : path
  return `${stem}.${stamp}-${serial}${hasExtension ? path.slice(dot) : ''}`
}
