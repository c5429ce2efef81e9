/** Models of this machine that stay where they are, be they a file or a folder of files. Decides which; owns nothing. */

import { digestOfFile, hashLocalFile, knownDigest } from './local-file.ts'
import { digestOfFolder, folderOf, hashLocalFolder, knownFolder } from './local-folder.ts'
import type { StoredModel } from './model-store.ts'
import type { ProgressListener } from './sources/source-fetcher.ts'
import type { StoreFolder } from './store-folder.ts'

/** What lies at `path` as a stored model, if its digest is known and still holds. */
export async function knownLocalModel(
  store: StoreFolder,
  path: string,
): Promise<StoredModel | undefined> {
  const folder = await folderOf(path)
  return folder === undefined ? knownDigest(store, path) : knownFolder(store, path, folder)
}

/** Hash what lies at `path` and remember it. @throws ServingError STORE_FILE_NOT_FOUND; the signal's reason */
export async function hashLocalModel(
  store: StoreFolder,
  path: string,
  onProgress: ProgressListener,
  signal: AbortSignal,
): Promise<StoredModel> {
  const folder = await folderOf(path)
  if (folder === undefined) return hashLocalFile(store, path, onProgress, signal)
  return hashLocalFolder(store, { path, folder }, onProgress, signal)
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
  const folder = await folderOf(path)
  if (folder === undefined) return digestOfFile(path, onProgress, signal)
  return digestOfFolder(folder, onProgress, signal)
}
