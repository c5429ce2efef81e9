/**
 * A model in several files that stay several: the parts of a split GGUF (`NAME-00001-of-00003.gguf`), of which one names all,
 * and the files of a folder. Each becomes a blob.
 *
 * I1: all files are of the revision that the first resolved to, so a branch that moves meanwhile mixes nothing.
 * I2: none is published before all are there, so a fetch that was interrupted finds the downloads of those it had.
 */

import { basename } from 'node:path'
import { splitName } from '../../base/split-name.ts'
import type { FilePart } from '../local-files.ts'
import type { RemoteFile } from '../source.ts'
import type { PartTools } from './fetch-joined.ts'
import type { FetchContext, Fetched } from './source-fetcher.ts'

export interface SplitTools extends PartTools {
  /** Make a fetched file a blob. */
  keep(fetched: Fetched): Promise<unknown>
}

/** A file of a set, and its name in it. */
export interface SetFile {
  readonly source: RemoteFile
  /** With slashes. */
  readonly name: string
}

/** Sources of all parts in order, when `source` names a part; else `undefined`. */
export function splitFiles(source: RemoteFile): readonly SetFile[] | undefined {
  return splitSources(source)?.map((part) => ({ source: part, name: nameOf(part) }))
}

function splitSources(source: RemoteFile): readonly RemoteFile[] | undefined {
  switch (source.kind) {
    case 'pypi':
      return splitName(source.member)?.paths.map((member) => ({ ...source, member }))
    case 'hf':
      return splitName(source.file ?? '')?.paths.map((file) => ({ ...source, file }))
    case 'url': {
      // A digest in the URL is that of the whole set, which the caller checks.
      const { pathname, search } = new URL(source.url)
      const split = splitName(pathname)
      return split?.paths.map((path) => ({
        kind: 'url',
        url: new URL(`${path}${search}`, source.url).href,
        sha256: null,
      }))
    }
  }
}

/** @param totalBytes - of all files, where it is known before */
export async function fetchSplit(
  files: readonly SetFile[],
  totalBytes: number | null,
  tools: SplitTools,
  context: FetchContext,
): Promise<{ parts: readonly FilePart[]; revision: string | null }> {
  const parts: FilePart[] = []
  const fetchedFiles: Fetched[] = []
  let revision: string | null = null
  let doneBytes = 0
  for (const { source, name } of files) {
    context.signal.throwIfAborted()
    const before = doneBytes
    const pinned = parts.length === 0 ? source : pin(source, revision)
    const fetched = await tools.fetch(pinned, {
      ...context,
      ...tools.placesOf(pinned),
      sha256: null,
      sizeBytes: null,
      onProgress: (stage, bytes) => {
        if (stage === 'resolve' && before === 0) context.onProgress(stage, 0, null)
        if (stage !== 'download') return
        doneBytes = before + bytes
        context.onProgress(stage, doneBytes, totalBytes)
      },
    })
    fetchedFiles.push(fetched)
    if (parts.length === 0) revision = fetched.revision
    const { digest, sizeBytes } = fetched
    parts.push({ name, sizeBytes, digest })
  }
  for (const fetched of fetchedFiles) await tools.keep(fetched)
  return { parts, revision }
}

function pin(file: RemoteFile, revision: string | null): RemoteFile {
  if (revision === null) return file
  if (file.kind === 'hf') return { ...file, revision }
  return file.kind === 'pypi' ? { ...file, version: revision } : file
}

function nameOf(file: RemoteFile): string {
  if (file.kind === 'url') return basename(decodeURIComponent(new URL(file.url).pathname))
  return basename(file.kind === 'hf' ? (file.file ?? '') : file.member)
}
