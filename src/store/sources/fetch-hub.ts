/**
 * One file of a repository of a hub that speaks Hugging Face's API.
 *
 * The library is asked for commit, size and LFS digest; the bytes come through this room's own download, because the
 * library's cannot go on where a killed process stopped. Knows no disk.
 * I1: for a file in LFS the digest that the hub states is checked; a pinned digest that differs is refused unfetched.
 */

import { pathsInfo } from '@huggingface/hub'
import { storeError } from '../errors.ts'
import { download, removePartial } from '../http/download.ts'
import type { HubSource } from '../source.ts'
import { access, asking, commitOf, endpointOf, type HubOptions } from './hub-api.ts'
import { type FetchContext, type Fetched, MAX_MODEL_BYTES } from './source-fetcher.ts'

interface HubFile {
  readonly commit: string
  readonly sizeBytes: number
  /** Of LFS files; small files in git itself have none. */
  readonly sha256: string | null
}

export async function fetchHub(
  source: HubSource,
  options: HubOptions,
  context: FetchContext,
): Promise<Fetched> {
  const { http, sourceText, partialFile, onProgress, signal } = context
  onProgress('resolve', 0, null)
  const file = await lookUp(source, options, context)
  signal.throwIfAborted()
  const sha256 = context.sha256 ?? file.sha256
  const name = source.file ?? ''
  const path = name.split('/').map(encodeURIComponent).join('/')
  const result = await download(http, {
    source: sourceText,
    url: new URL(`${endpointOf(options)}/${source.repository}/resolve/${file.commit}/${path}`),
    headers: options.token === undefined ? {} : { authorization: `Bearer ${options.token}` },
    file: partialFile,
    identity: `hf:${source.repository}@${file.commit}/${name}`,
    digest: sha256 === null ? null : { algorithm: 'sha256', hex: sha256 },
    sizeBytes: file.sizeBytes,
    maxBytes: MAX_MODEL_BYTES,
    onProgress: (done, total) => onProgress('download', done, total),
    signal,
  })
  const cleanUp = () => removePartial(partialFile)
  return { ...result, file: partialFile, revision: file.commit, cleanUp }
}

async function lookUp(
  source: HubSource,
  options: HubOptions,
  context: FetchContext,
): Promise<HubFile> {
  const { repository, revision } = source
  const file = source.file ?? ''
  const endpoint = endpointOf(options)
  return asking(context, endpoint, `${repository} at revision ${revision}`, async () => {
    const commit = await commitOf(source, options, context)
    const asked = { repo: repository, paths: [file], revision: commit }
    const found = await pathsInfo({ ...asked, ...access(options, context) })
    const info = found.find(({ path, type }) => path === file && type === 'file')
    if (info === undefined) {
      const expected = `the file ${file} in ${repository} at ${commit}`
      const details = { source: context.sourceText, endpoint, expected, got: 'none' }
      throw storeError('STORE_HUB_NOT_FOUND', { details })
    }
    const sha256 = info.lfs?.oid.replace(/^sha256:/, '') ?? null
    checkPinned(context, sha256)
    return { commit, sizeBytes: info.lfs?.size ?? info.size, sha256 }
  })
}

function checkPinned(context: FetchContext, stated: string | null): void {
  const { sha256: expected, sourceText } = context
  if (expected === null || stated === null || expected === stated) return
  throw storeError('STORE_DIGEST_MISMATCH', {
    details: { source: sourceText, algorithm: 'sha256', expected, got: `${stated} (by the hub)` },
  })
}
