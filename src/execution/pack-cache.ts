/**
 * A folder of packed weights: one file for each checkpoint, choice of formats and kernel family. Names files, keeps the
 * folder below its limit, and says whether there is room. What is in a file, and whether it is whole, only the addon
 * knows.
 *
 *   <folder>/<32 hex of the key>.pack     the one last opened has the newest time
 *   <folder>/*.part                        being written; a leftover of a process that died is removed after an hour
 *
 * K1 Equal keys, equal bytes: a key is made of everything that packing depends on but the code, whose layout the addon
 *    writes into the file itself. K2 A file that was just opened or written is never removed by this process.
 */

import { createHash } from 'node:crypto'
import { mkdir, readdir, rm, stat, statfs, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import type { GraphWeight } from '../graph/graph.ts'

export interface PackFolder {
  readonly folder: string
  readonly limitBytes: number
}

export interface PackFile {
  readonly path: string
  readonly key: string
}

const LEFTOVER_MS = 3_600_000
/** Left to everything else on the disk. */
const RESERVE_BYTES = 256 * 2 ** 20

/** K1. @param weights - with their targets; where files lie is left out, because the digest says what is in them */
export function packFile(
  { folder }: PackFolder,
  modelDigest: string,
  kernels: string,
  weights: readonly GraphWeight[],
): PackFile {
  const stored = weights.filter(({ kind }) => kind !== 'constant')
  const text = JSON.stringify({ modelDigest, kernels, stored }, (name, value) =>
    name === 'file' ? undefined : value,
  )
  const key = createHash('sha256').update(text).digest('hex')
  return { path: join(folder, `${key.slice(0, 32)}.pack`), key }
}

export async function isThere({ path }: PackFile): Promise<boolean> {
  return (await stat(path).catch(() => null)) !== null
}

/** So that it counts as used. Failing does no harm. */
export async function markUsed({ path }: PackFile): Promise<void> {
  const now = new Date()
  await utimes(path, now, now).catch(() => {})
}

export async function remove({ path }: PackFile): Promise<void> {
  await rm(path, { force: true })
}

/** Why a file of this size should not be written; `null` when there is room. Makes the folder. */
export async function whyNoRoom(
  { folder, limitBytes }: PackFolder,
  bytes: number,
): Promise<string | null> {
  if (bytes > limitBytes) return `${bytes} bytes are more than --pack-cache ${limitBytes} allows`
  try {
    await mkdir(folder, { recursive: true })
    const { bavail, bsize } = await statfs(folder)
    const freeBytes = bavail * bsize
    if (freeBytes >= bytes + RESERVE_BYTES) return null
    return `${freeBytes} bytes are free in ${folder}, of ${bytes} and a reserve that are needed`
  } catch (cause) {
    return cause instanceof Error ? cause.message : String(cause)
  }
}

/** Remove what was not used for longest until the rest is within the limit, and old leftovers. */
export async function makeRoom(
  { folder, limitBytes }: PackFolder,
  keep: PackFile,
  nowMs: number,
): Promise<void> {
  const files = await listFolder(folder)
  let totalBytes = 0
  for (const { path, bytes, usedMs } of files) {
    if (path.endsWith('.part')) {
      if (nowMs - usedMs > LEFTOVER_MS) await rm(path, { force: true })
    } else totalBytes += bytes
  }
  const packs = files.filter(({ path }) => path.endsWith('.pack'))
  for (const { path, bytes } of packs.sort((a, b) => a.usedMs - b.usedMs)) {
    if (totalBytes <= limitBytes) return
    if (path === keep.path) continue // K2
    await rm(path, { force: true })
    totalBytes -= bytes
  }
}

/** Packs in a folder that need not be there. */
export async function packUsage(folder: string): Promise<{ numFiles: number; bytes: number }> {
  const files = await listFolder(folder).catch(() => [])
  const packs = files.filter(({ path }) => path.endsWith('.pack'))
  return { numFiles: packs.length, bytes: packs.reduce((sum, { bytes }) => sum + bytes, 0) }
}

interface FolderEntry {
  readonly path: string
  readonly bytes: number
  readonly usedMs: number
}

/** Files of ours; one that vanishes meanwhile is left out. */
async function listFolder(folder: string): Promise<FolderEntry[]> {
  const names = (await readdir(folder)).filter((name) => /\.(?:pack|part)$/.test(name))
  const entries = await Promise.all(
    names.map(async (name) => {
      const path = join(folder, name)
      const stats = await stat(path).catch(() => null)
      return stats === null ? [] : [{ path, bytes: stats.size, usedMs: stats.mtimeMs }]
    }),
  )
  return entries.flat()
}
