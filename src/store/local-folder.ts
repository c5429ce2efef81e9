/**
 * Models that are a folder of files and stay where they are: one digest over everything in it that can change an answer.
 *
 * The digest of a folder is the sha256 of one line a file, sorted by name as bytes:
 *
 *   NAME \0 SIZE IN DECIMAL \0 SHA256 IN HEX \n
 *
 * Files are those directly inside whose names end as in `ENDINGS`; notes, pictures and other formats do not count, and
 * folders are not entered. Digests of the single files are remembered as those of any local file.
 * Owns nothing; knows no file format.
 */

import { createHash } from 'node:crypto'
import { readdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { reasonOf, storeError } from './errors.ts'
import { digestOfFile, hashLocalFile, knownDigest } from './local-file.ts'
import type { StoredModel } from './model-store.ts'
import type { ProgressListener } from './sources/source-fetcher.ts'
import type { StoreFolder } from './store-folder.ts'

/** Weights, configuration, tokenizer, chat template. */
const ENDINGS = /\.(?:safetensors|json|jinja|model|txt)$/
/** What makes a folder a model. */
const CONFIG = 'config.json'

/**
 * The folder whose files decide what the model at `path` answers, or `undefined` for a file that stands alone. A
 * safetensors file is nothing without the files beside it.
 */
export async function folderOf(path: string): Promise<string | undefined> {
  const isFolder = await stat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  )
  if (isFolder) return path
  return path.endsWith('.safetensors') ? dirname(path) : undefined
}

/** The folder as a stored model if the digests of all its files are known and still hold. */
export async function knownFolder(
  store: StoreFolder,
  path: string,
  folder: string,
): Promise<StoredModel | undefined> {
  const parts: Part[] = []
  for (const { name } of await listFiles(folder)) {
    const known = await knownDigest(store, join(folder, name))
    if (known === undefined) return undefined
    parts.push({ name, sizeBytes: known.sizeBytes, digest: known.digest })
  }
  return storedFolder(path, parts)
}

/**
 * Hash what is not known yet, and remember it.
 *
 * @throws ServingError STORE_FILE_NOT_FOUND, also when a file changed while it was read; the signal's reason
 */
export async function hashLocalFolder(
  store: StoreFolder,
  { path, folder }: { readonly path: string; readonly folder: string },
  onProgress: ProgressListener,
  signal: AbortSignal,
): Promise<StoredModel> {
  const parts = await digestParts(folder, onProgress, async (file, report) => {
    const known = await knownDigest(store, file)
    return (known ?? (await hashLocalFile(store, file, report, signal))).digest
  })
  return storedFolder(path, parts)
}

/** From the bytes, whatever is remembered. Throws as `hashLocalFolder`. */
export async function digestOfFolder(
  folder: string,
  onProgress: ProgressListener,
  signal?: AbortSignal,
): Promise<string> {
  const digest = (file: string, report: ProgressListener) => digestOfFile(file, report, signal)
  return joinedDigest(await digestParts(folder, onProgress, digest))
}

interface Part {
  readonly name: string
  readonly sizeBytes: number
  readonly digest: string
}

/** Progress counts over all files. */
async function digestParts(
  folder: string,
  onProgress: ProgressListener,
  digestOf: (file: string, report: ProgressListener) => Promise<string>,
): Promise<readonly Part[]> {
  const files = await listFiles(folder)
  const totalBytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  const parts: Part[] = []
  let doneBytes = 0
  for (const { name, sizeBytes } of files) {
    const before = doneBytes
    const report: ProgressListener = (stage, bytes) => onProgress(stage, before + bytes, totalBytes)
    parts.push({ name, sizeBytes, digest: await digestOf(join(folder, name), report) })
    doneBytes += sizeBytes
  }
  return parts
}

/** The files that count, sorted by name. */
async function listFiles(folder: string): Promise<readonly Omit<Part, 'digest'>[]> {
  const files: Omit<Part, 'digest'>[] = []
  try {
    for (const name of await readdir(folder)) {
      if (!ENDINGS.test(name)) continue
      const stats = await stat(join(folder, name))
      if (!stats.isDirectory()) files.push({ name, sizeBytes: stats.size })
    }
  } catch (cause) {
    throw storeError('STORE_FILE_NOT_FOUND', {
      details: { file: folder, got: reasonOf(cause) },
      cause,
    })
  }
  if (files.some(({ name }) => name === CONFIG)) {
    return files.sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)))
  }
  const details = { file: folder, got: `a folder without ${CONFIG}` }
  throw storeError('STORE_FILE_NOT_FOUND', { details })
}

function storedFolder(path: string, parts: readonly Part[]): StoredModel {
  const sizeBytes = parts.reduce((sum, part) => sum + part.sizeBytes, 0)
  return { path, digest: joinedDigest(parts), sizeBytes, source: `file:${path}`, revision: null }
}

function joinedDigest(parts: readonly Part[]): string {
  const hash = createHash('sha256')
  for (const { name, sizeBytes, digest } of parts) {
    hash.update(`${name}\0${sizeBytes}\0${digest}\n`)
  }
  return hash.digest('hex')
}
