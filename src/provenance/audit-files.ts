/**
 * The few file operations that the audit log needs, behind an interface so that a full disk can be tested.
 *
 * Owns nothing; a handle belongs to who opened it. Does not know records or batches.
 */

import { mkdir, open, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type AppendFile, DiskFile } from './append-file.ts'

export interface AuditFiles {
  /** Open for appending, making the file (mode 600: records say who asked what model) and its folder when missing. */
  openForAppend(path: string): Promise<AppendFile>
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

/** `audit.jsonl` at 2026-01-02T03:04:05.678Z becomes `audit.20260102T030405678Z-<serial>.jsonl`, which sorts by time. */
export function rotatedName(path: string, wallMs: number, serial: number): string {
  const stamp = new Date(wallMs).toISOString().replaceAll(/[-:.]/g, '')
  const dot = path.lastIndexOf('.')
  const hasExtension = dot > path.lastIndexOf('/') + 1
  const stem = hasExtension ? path.slice(0, dot) : path
  return `${stem}.${stamp}-${serial}${hasExtension ? path.slice(dot) : ''}`
}
