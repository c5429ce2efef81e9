/**
 * Files that stay where they are: their digests, remembered while size, times and inode do not change.
 * Owns nothing but the entries in the store's `digests` folder.
 */

import { createHash } from 'node:crypto'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { reasonOf, storeError } from './errors.ts'
import type { StoredModel } from './model-store.ts'
import type { ProgressListener } from './sources/source-fetcher.ts'
import type { KnownDigest, StoreFolder } from './store-folder.ts'

const CHUNK_BYTES = 1024 * 1024

type FileIdentity = Omit<KnownDigest, 'digest'>

/** The file as a stored model if its digest is known and still holds. */
export async function knownDigest(
  folder: StoreFolder,
  path: string,
): Promise<StoredModel | undefined> {
  const identity = await identify(path)
  const known = await folder.readKnownDigest(path)
  const isSame =
    known !== undefined &&
    known.sizeBytes === identity.sizeBytes &&
    known.mtimeMs === identity.mtimeMs &&
    known.ctimeMs === identity.ctimeMs &&
    known.inode === identity.inode
  if (!isSame) return undefined
  const { digest, sizeBytes } = known
  return { path, digest, sizeBytes, source: `file:${path}`, revision: null }
}

/**
 * Hash a file and remember it in `folder`.
 *
 * @throws ServingError STORE_FILE_NOT_FOUND, also when the file changed while it was read; the signal's reason
 */
export async function hashLocalFile(
  folder: StoreFolder,
  path: string,
  onProgress: ProgressListener,
  signal: AbortSignal | undefined,
): Promise<StoredModel> {
  const before = await identify(path)
  const digest = await digestOfFile(path, onProgress, signal)
  if (JSON.stringify(await identify(path)) !== JSON.stringify(before)) {
    throw unreadable(path, 'a file that changed while it was read')
  }
  await folder
    .prepare()
    .then(() => folder.writeKnownDigest({ ...before, digest }))
    // A store that cannot be written to (a read-only container) costs hashing again at the next start, no more.
    .catch(() => undefined)
  return { path, digest, sizeBytes: before.sizeBytes, source: `file:${path}`, revision: null }
}

/** Remember what a file was hashed to while it was written. */
export async function rememberDigest(
  folder: StoreFolder,
  path: string,
  digest: string,
): Promise<void> {
  // As in `hashLocalFile`: without it the file is hashed again, no more.
  await folder.writeKnownDigest({ ...(await identify(path)), digest }).catch(() => undefined)
}

/**
 * Hash a file.
 *
 * @returns sha256, hex
 * @throws ServingError STORE_FILE_NOT_FOUND; the signal's reason
 */
export async function digestOfFile(
  path: string,
  onProgress: ProgressListener,
  signal?: AbortSignal,
): Promise<string> {
  const { sizeBytes } = await identify(path)
  return hashFile(path, sizeBytes, onProgress, signal)
}

async function hashFile(
  path: string,
  totalBytes: number,
  onProgress: ProgressListener,
  signal?: AbortSignal,
): Promise<string> {
  const hash = createHash('sha256')
  let handle: FileHandle | undefined
  try {
    handle = await open(path, 'r')
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
    for (let doneBytes = 0; ; ) {
      signal?.throwIfAborted()
      const { bytesRead } = await handle.read(chunk, 0, CHUNK_BYTES, doneBytes)
      if (bytesRead === 0) return hash.digest('hex')
      hash.update(chunk.subarray(0, bytesRead))
      doneBytes += bytesRead
      onProgress('digest', doneBytes, totalBytes)
    }
  } catch (error) {
    signal?.throwIfAborted()
    throw unreadable(path, reasonOf(error), error)
  } finally {
    await handle?.close()
  }
}

async function identify(path: string): Promise<FileIdentity> {
  let stats: Awaited<ReturnType<typeof stat>>
  try {
    stats = await stat(path)
  } catch (error) {
    throw unreadable(path, reasonOf(error) === 'ENOENT' ? 'nothing' : reasonOf(error), error)
  }
  if (!stats.isFile()) throw unreadable(path, stats.isDirectory() ? 'a folder' : 'no regular file')
  const { size: sizeBytes, mtimeMs, ctimeMs, ino: inode } = stats
  return { path, sizeBytes, mtimeMs, ctimeMs, inode }
}

function unreadable(file: string, got: string, cause?: unknown): Error {
  return storeError('STORE_FILE_NOT_FOUND', { details: { file, got }, cause })
}
