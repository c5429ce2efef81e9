/** Weights at a plain URL. Nothing pins them but a digest in the reference; the server's ETag is kept as revision. */

import { download, removePartial } from '../http/download.ts'
import type { UrlSource } from '../source.ts'
import { type FetchContext, type Fetched, MAX_MODEL_BYTES } from './source-fetcher.ts'

export async function fetchUrl(source: UrlSource, context: FetchContext): Promise<Fetched> {
  const { http, sourceText, partialFile, sha256, sizeBytes, onProgress, signal } = context
  const result = await download(http, {
    source: sourceText,
    url: new URL(source.url),
    file: partialFile,
    identity: sourceText,
    digest: sha256 === null ? null : { algorithm: 'sha256', hex: sha256 },
    sizeBytes,
    maxBytes: MAX_MODEL_BYTES,
    onProgress: (done, total) => onProgress('download', done, total),
    signal,
  })
  const cleanUp = () => removePartial(partialFile)
  return { ...result, file: partialFile, revision: result.etag, cleanUp }
}
