/**
 * Weights in a repository of a hub that speaks Hugging Face's API.
 *
 * Branches and tags move, so the revision is resolved to a commit first and everything after names that commit.
 * `@huggingface/hub` asks for commit, size and LFS digest; the bytes come through this room's own download, because the
 * library's cannot go on where a killed process stopped. Knows no disk.
 * I1: for a file in LFS the digest that the hub states is checked; a pinned digest that differs is refused unfetched.
 */

import { HubApiError, modelInfo, pathsInfo } from '@huggingface/hub'
import { ServingError } from '../../base/errors.ts'
import { reasonOf, storeError } from '../errors.ts'
import { download, removePartial } from '../http/download.ts'
import type { HubSource } from '../source.ts'
import { type FetchContext, type Fetched, MAX_MODEL_BYTES } from './source-fetcher.ts'

export interface HubOptions {
  /** Without a slash at its end; default `https://huggingface.co`. */
  readonly endpoint?: string | undefined
  readonly token?: string | undefined
}

const DEFAULT_ENDPOINT = 'https://huggingface.co'
const COMMIT = /^[0-9a-f]{40}$/

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
  const endpoint = (options.endpoint ?? DEFAULT_ENDPOINT).replace(/\/+$/, '')
  const file = await lookUp(source, { ...options, endpoint }, context)
  signal.throwIfAborted()
  const sha256 = context.sha256 ?? file.sha256
  const path = source.file.split('/').map(encodeURIComponent).join('/')
  const result = await download(http, {
    source: sourceText,
    url: new URL(`${endpoint}/${source.repository}/resolve/${file.commit}/${path}`),
    headers: options.token === undefined ? {} : { authorization: `Bearer ${options.token}` },
    file: partialFile,
    identity: `hf:${source.repository}@${file.commit}/${source.file}`,
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
  options: HubOptions & { readonly endpoint: string },
  context: FetchContext,
): Promise<HubFile> {
  const { repository, revision, file } = source
  const { endpoint, token } = options
  const common = {
    hubUrl: endpoint,
    fetch: withSignal(context.http.fetch, context.signal),
    ...(token === undefined ? {} : { accessToken: token }),
  }
  return retrying(context, endpoint, `${repository} at revision ${revision}`, async () => {
    const commit = COMMIT.test(revision)
      ? revision
      : (await modelInfo({ name: repository, revision, additionalFields: ['sha'], ...common })).sha
    const found = await pathsInfo({ repo: repository, paths: [file], revision: commit, ...common })
    const info = found.find(({ path, type }) => path === file && type === 'file')
    if (info === undefined || !COMMIT.test(commit)) {
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

/** The library neither retries nor types its errors by what a person can do. */
async function retrying<T>(
  { http, signal, sourceText }: FetchContext,
  endpoint: string,
  expected: string,
  ask: () => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await ask()
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof ServingError) throw error
      const status = error instanceof HubApiError ? error.statusCode : undefined
      const details = { source: sourceText, endpoint, expected }
      if (status === 404) {
        const got = 'status 404'
        throw storeError('STORE_HUB_NOT_FOUND', { details: { ...details, got }, cause: error })
      }
      if (status === 401 || status === 403) {
        throw storeError('STORE_HUB_REFUSED', {
          details: { ...details, got: status },
          cause: error,
        })
      }
      if (attempt >= http.maxAttempts) {
        const got = status === undefined ? reasonOf(error) : `status ${status}`
        throw storeError('STORE_NETWORK', {
          details: { url: endpoint, attempts: attempt, got },
          cause: error,
        })
      }
      await http.pause(attempt, signal)
    }
  }
}

function withSignal(through: typeof fetch, signal: AbortSignal): typeof fetch {
  return (input, init) => through(input, { ...init, signal })
}
