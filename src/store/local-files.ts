/**
 * Models that are several files and stay where they are: one digest over everything that can change an answer.
 *
 * The digest of several files is the sha256 of one line a file, sorted by name as bytes:
 *
 *   NAME \0 SIZE IN DECIMAL \0 SHA256 IN HEX \n
 *
 *   given                        files
 *   a folder with config.json    those directly inside whose names end as in `ENDINGS`; notes, pictures and other
 *                                formats do not count, and no folder is entered but that of chat templates
 *   a .safetensors file          those of its folder: it is nothing without them
 *   an exported .onnx file       those of its folder, and its own as `exported-files.ts` says; so for a folder of exports
 *   a part of a split GGUF       all parts
 *   a folder without config.json the one GGUF model in it
 *
 * Digests of the single files are remembered as those of any local file. Owns nothing; knows no file format.
 */

import { createHash } from 'node:crypto'
import { readdir, stat } from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import { splitName } from '../base/split-name.ts'
import { reasonOf, storeError } from './errors.ts'
import { CONFIGS, exportedFolderOf, GRAPH_FOLDER } from './exported-files.ts'
import { isModelFolder, modelFiles, sorted, TEMPLATE_FOLDER } from './folder-files.ts'
import { digestOfFile, hashLocalFile, knownDigest } from './local-file.ts'
import type { StoredModel } from './model-store.ts'
import type { ProgressListener } from './sources/source-fetcher.ts'
import type { StoreFolder } from './store-folder.ts'

/** Several files that are one model. */
export interface LocalFiles {
  /** As it was given. */
  readonly path: string
  readonly folder: string
  /** Inside the folder, sorted as bytes. */
  readonly names: readonly string[]
}

/**
 * The files that decide what the model at `path` answers, or `undefined` for a file that stands alone.
 *
 * @throws ServingError STORE_FILE_NOT_FOUND for a folder that is no model
 */
export async function localFilesOf(path: string): Promise<LocalFiles | undefined> {
  const isFolder = await stat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  )
  if (isFolder) return { path, folder: path, names: await namesIn(path) }
  if (path.endsWith('.onnx')) {
    const above = await exportedFolderOf(path)
    return { path, folder: above, names: await namesIn(above, path) }
  }
  const folder = dirname(path)
  if (path.endsWith('.safetensors')) return { path, folder, names: await namesIn(folder) }
  const split = splitName(path)
  if (split === undefined) return undefined
  return { path, folder, names: sorted(split.paths.map((part) => basename(part))) }
}

/** As a stored model if the digests of all files are known and still hold. */
export async function knownFiles(
  store: StoreFolder,
  { path, folder, names }: LocalFiles,
): Promise<StoredModel | undefined> {
  const parts: FilePart[] = []
  for (const name of names) {
    const known = await knownDigest(store, join(folder, name))
    if (known === undefined) return undefined
    parts.push({ name, sizeBytes: known.sizeBytes, digest: known.digest })
  }
  return storedFiles(path, parts)
}

/**
 * Hash what is not known yet, and remember it.
 *
 * @throws ServingError STORE_FILE_NOT_FOUND, also when a file changed while it was read; the signal's reason
 */
export async function hashLocalFiles(
  store: StoreFolder,
  files: LocalFiles,
  onProgress: ProgressListener,
  signal: AbortSignal | undefined,
): Promise<StoredModel> {
  const parts = await digestParts(files, onProgress, async (file, report) => {
    const known = await knownDigest(store, file)
    return (known ?? (await hashLocalFile(store, file, report, signal))).digest
  })
  return storedFiles(files.path, parts)
}

/** From the bytes, whatever is remembered. Throws as `hashLocalFiles`. */
export async function digestOfFiles(
  files: LocalFiles,
  onProgress: ProgressListener,
  signal?: AbortSignal,
): Promise<string> {
  const digest = (file: string, report: ProgressListener) => digestOfFile(file, report, signal)
  return joinedDigest(await digestParts(files, onProgress, digest))
}

export interface FilePart {
  readonly name: string
  readonly sizeBytes: number
  readonly digest: string
}

/** Of parts that are sorted by name as bytes. */
export function joinedDigest(parts: readonly FilePart[]): string {
  const hash = createHash('sha256')
  for (const { name, sizeBytes, digest } of parts) {
    hash.update(`${name}\0${sizeBytes}\0${digest}\n`)
  }
  return hash.digest('hex')
}

/** Progress counts over all files. */
async function digestParts(
  { folder, names }: LocalFiles,
  onProgress: ProgressListener,
  digestOf: (file: string, report: ProgressListener) => Promise<string>,
): Promise<readonly FilePart[]> {
  const sizes = await Promise.all(names.map((name) => sizeOf(join(folder, name))))
  const totalBytes = sizes.reduce((sum, sizeBytes) => sum + sizeBytes, 0)
  const parts: FilePart[] = []
  let doneBytes = 0
  for (const [index, name] of names.entries()) {
    const before = doneBytes
    const sizeBytes = sizes[index] as number
    const report: ProgressListener = (stage, bytes) => onProgress(stage, before + bytes, totalBytes)
    parts.push({ name, sizeBytes, digest: await digestOf(join(folder, name), report) })
    doneBytes += sizeBytes
  }
  return parts
}

/** @param graph - path of the exported graph that was named */
async function namesIn(folder: string, graph: string | null = null): Promise<readonly string[]> {
  let names: readonly string[]
  try {
    names = await readdir(folder)
    if (isModelFolder(names)) {
      const inside = await Promise.all([
        filesAmong(folder, '', names),
        ...[GRAPH_FOLDER, TEMPLATE_FOLDER].map((place) => filesIn(folder, place, names)),
      ])
      return modelFiles(inside.flat(), graph === null ? null : relative(folder, graph))
    }
  } catch (cause) {
    throw notFound(folder, reasonOf(cause), cause)
  }
  const parts = names.filter((name) => name.endsWith('.gguf'))
  const whole = sorted(splitName(parts[0] ?? '')?.paths ?? parts)
  // One model is one file, or parts that all belong together.
  const isOne = parts.length > 0 && parts.every((name) => whole.includes(name))
  if (isOne && (parts.length === 1 || splitName(parts[0] as string) !== undefined)) return whole
  const got =
    parts.length === 0
      ? `a folder without ${CONFIGS.join(' or ')}`
      : 'several GGUF models in one folder'
  throw notFound(folder, got)
}

/** Those that are no folders, with the place before them. */
async function filesAmong(folder: string, place: string, names: readonly string[]) {
  const paths = names.map((name) => (place === '' ? name : `${place}/${name}`))
  const isFile = await Promise.all(
    // What cannot be looked at is missed when it counts, and else nobody's matter.
    paths.map((path) =>
      stat(join(folder, path)).then(
        (stats) => !stats.isDirectory(),
        () => true,
      ),
    ),
  )
  return paths.filter((_, index) => isFile[index])
}

async function filesIn(folder: string, place: string, names: readonly string[]) {
  if (!names.includes(place)) return []
  // A file of that name is no model's.
  return filesAmong(folder, place, await readdir(join(folder, place)).catch(() => []))
}

async function sizeOf(file: string): Promise<number> {
  try {
    return (await stat(file)).size
  } catch (cause) {
    throw notFound(file, reasonOf(cause) === 'ENOENT' ? 'nothing' : reasonOf(cause), cause)
  }
}

function storedFiles(path: string, parts: readonly FilePart[]): StoredModel {
  const sizeBytes = parts.reduce((sum, part) => sum + part.sizeBytes, 0)
  return { path, digest: joinedDigest(parts), sizeBytes, source: `file:${path}`, revision: null }
}

function notFound(file: string, got: string, cause?: unknown): Error {
  return storeError('STORE_FILE_NOT_FOUND', { details: { file, got }, cause })
}
