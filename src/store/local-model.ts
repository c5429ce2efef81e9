/** Models of this machine that stay where they are, be they one file or several. Decides which; owns nothing. */

import { digestOfFile, hashLocalFile, knownDigest } from './local-file.ts'
import { digestOfFiles, hashLocalFiles, knownFiles, localFilesOf } from './local-files.ts'
import type { StoredModel } from './model-store.ts'
import type { ProgressListener } from './sources/source-fetcher.ts'
import type { StoreFolder } from './store-folder.ts'

/** What lies at `path` as a stored model, if its digest is known and still holds. */
export async function knownLocalModel(
  store: StoreFolder,
  path: string,
): Promise<StoredModel | undefined> {
  const files = await localFilesOf(path)
  return files === undefined ? knownDigest(store, path) : knownFiles(store, files)
}

/** Hash what lies at `path` and remember it. @throws ServingError STORE_FILE_NOT_FOUND; the signal's reason */
export async function hashLocalModel(
  store: StoreFolder,
  path: string,
  onProgress: ProgressListener,
  signal: AbortSignal | undefined,
): Promise<StoredModel> {
  const files = await localFilesOf(path)
  if (files === undefined) return hashLocalFile(store, path, onProgress, signal)
  return hashLocalFiles(store, files, onProgress, signal)
}

/**
 * The digest of `path` from its bytes, whatever is remembered.
 *
 * @throws ServingError STORE_FILE_NOT_FOUND; the signal's reason
 */
export async function digestOfLocalModel(
  path: string,
  onProgress: ProgressListener,
  signal?: AbortSignal,
): Promise<string> {
  const files = await localFilesOf(path)
  if (files === undefined) return digestOfFile(path, onProgress, signal)
  return digestOfFiles(files, onProgress, signal)
}
