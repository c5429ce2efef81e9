/**
 * Writing so that a file under its final name is whole: temporary name, fsync, rename, fsync of the folder.
 * Owns no state; knows nothing of digests' meaning or of what the files hold.
 */

import { type FileHandle, open, readFile, rename, rm, stat, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ioFailure, reasonOf, storeError } from './errors.ts'

/** Left free for the file system itself and for everyone else. */
const RESERVE_BYTES = 32 * 1024 * 1024

/**
 * Refuse early what cannot fit.
 *
 * @param neededBytes - what will be written into `folder`
 * @throws ServingError STORE_DISK_FULL
 */
export async function checkFreeSpace(folder: string, neededBytes: number): Promise<void> {
  let free: number
  try {
    const { bavail, bsize } = await statfs(folder)
    free = bavail * bsize
  } catch (error) {
    throw ioFailure(error, folder, 'asking for free space')
  }
  if (free < neededBytes + RESERVE_BYTES) {
    throw storeError('STORE_DISK_FULL', {
      details: { folder, needed: neededBytes + RESERVE_BYTES, free },
    })
  }
}

/** Write all of `chunk` at `position`. @throws what the file system throws */
export async function writeAll(
  handle: FileHandle,
  chunk: Uint8Array,
  position: number,
): Promise<void> {
  let written = 0
  while (written < chunk.length) {
    const { bytesWritten } = await handle.write(
      chunk,
      written,
      chunk.length - written,
      position + written,
    )
    written += bytesWritten
  }
}

/** What a failed write means: a full disk by name, anything else as it is. `neededBytes`: still to be written. */
export function writeFailure(error: unknown, file: string, neededBytes: number): Error {
  const reason = reasonOf(error)
  if (reason !== 'ENOSPC' && reason !== 'EDQUOT') return ioFailure(error, file, 'writing')
  return storeError('STORE_DISK_FULL', {
    details: { folder: dirname(file), needed: neededBytes, free: `too few (${reason})` },
    cause: error,
  })
}

/** Move a file that has been written to its final name, durably. The content is on disk before the name is. */
export async function publish(temporary: string, final: string): Promise<void> {
  await syncPath(temporary)
  await rename(temporary, final)
  await syncPath(dirname(final))
}

/** Replace a small text file in one step. */
export async function writeTextDurably(file: string, text: string): Promise<void> {
  const temporary = `${file}.${process.pid}.${Math.random().toString(36).slice(2)}.tmp`
  try {
    const handle = await open(temporary, 'wx')
    try {
      await handle.writeFile(text)
    } finally {
      await handle.close()
    }
    await publish(temporary, file)
  } catch (error) {
    await rm(temporary, { force: true })
    throw writeFailure(error, file, Buffer.byteLength(text))
  }
}

/** Parsed JSON, or `undefined` when the file is absent or no JSON: such a file only costs a download. */
export async function readJson(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, 'utf8'))
  } catch (error) {
    if (error instanceof SyntaxError || isAbsent(error)) return undefined
    throw ioFailure(error, file, 'reading')
  }
}

/** Size in bytes, or `undefined` when there is no such file. */
export async function fileSize(file: string): Promise<number | undefined> {
  try {
    return (await stat(file)).size
  } catch (error) {
    if (isAbsent(error)) return undefined
    throw ioFailure(error, file, 'looking at it')
  }
}

function isAbsent(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR'].includes(reasonOf(error))
}

async function syncPath(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
