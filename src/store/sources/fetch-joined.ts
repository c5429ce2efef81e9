/**
 * A file that is published in parts: each part by its own kind's fetcher, their bytes joined in order and hashed.
 *
 *   part 1 ─ download ─▶ partial 1 ─┐
 *   part 2 ─ download ─▶ partial 2 ─┼─ join ─▶ memberFile, sha256
 *   part 3 ─ download ─▶ partial 3 ─┘
 *
 * I1: the whole has the pinned digest, whatever the parts' own say; without a pin the digest is what came.
 * I2: a part's download stays until the whole is published, so a fetch that was interrupted loads none of them twice.
 */

import { createHash } from 'node:crypto'
import { type FileHandle, open, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { checkFreeSpace, writeAll, writeFailure } from '../disk.ts'
import { ioFailure, storeError } from '../errors.ts'
import type { JoinedSource, RemoteFile } from '../source.ts'
import type { FetchContext, Fetched } from './source-fetcher.ts'

const CHUNK_BYTES = 1024 * 1024

/** What the store does for one part. */
export interface PartTools {
  /** Text, partial file and member file of the part's own. */
  placesOf(part: RemoteFile): Pick<FetchContext, 'sourceText' | 'partialFile' | 'memberFile'>
  fetch(part: RemoteFile, context: FetchContext): Promise<Fetched>
}

export async function fetchJoined(
  source: JoinedSource,
  tools: PartTools,
  context: FetchContext,
): Promise<Fetched> {
  const { memberFile, sourceText, sha256: expected, signal, onProgress } = context
  const parts: Fetched[] = []
  let doneBytes = 0
  for (const part of source.parts) {
    signal.throwIfAborted()
    const before = doneBytes
    parts.push(
      await tools.fetch(part, {
        ...context,
        ...tools.placesOf(part),
        sha256: part.kind === 'url' ? part.sha256 : null,
        sizeBytes: null,
        // Stages come once each; unpacking a part is short beside joining them.
        onProgress: (stage, bytes) => {
          if (stage === 'resolve' && before === 0) onProgress(stage, 0, null)
          if (stage !== 'download') return
          doneBytes = before + bytes
          onProgress(stage, doneBytes, null)
        },
      }),
    )
  }
  const { digest, sizeBytes } = await join(parts, context)
  if (expected !== null && digest !== expected) {
    await rm(memberFile, { force: true })
    await removeAll(parts)
    const details = { source: sourceText, algorithm: 'sha256', expected, got: digest }
    throw storeError('STORE_DIGEST_MISMATCH', { details })
  }
  const revision = parts.map((part) => part.revision ?? '').join(' + ')
  return { file: memberFile, digest, sizeBytes, revision, cleanUp: () => removeAll(parts) }
}

async function removeAll(parts: readonly Fetched[]): Promise<void> {
  for (const part of parts) {
    await rm(part.file, { force: true })
    await part.cleanUp()
  }
}

async function join(
  parts: readonly Fetched[],
  { memberFile, sourceText, maxBytes, onProgress, signal }: FetchContext,
): Promise<{ digest: string; sizeBytes: number }> {
  const total = parts.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  if (total > maxBytes) {
    throw storeError('STORE_TOO_LARGE', {
      details: { source: sourceText, expected: maxBytes, got: total },
    })
  }
  await checkFreeSpace(dirname(memberFile), total)
  const hash = createHash('sha256')
  const target = await open(memberFile, 'w').catch((error: unknown) => {
    throw ioFailure(error, memberFile, 'opening')
  })
  let doneBytes = 0
  try {
    for (const { file } of parts) {
      for await (const chunk of chunksOf(file)) {
        signal.throwIfAborted()
        hash.update(chunk)
        await writeAll(target, chunk, doneBytes).catch((error: unknown) => {
          throw writeFailure(error, memberFile, total - doneBytes)
        })
        doneBytes += chunk.length
        onProgress('extract', doneBytes, total)
      }
    }
  } finally {
    await target.close()
  }
  return { digest: hash.digest('hex'), sizeBytes: doneBytes }
}

/** One buffer for all; each chunk is good until the next is asked for. */
async function* chunksOf(file: string): AsyncGenerator<Buffer> {
  let handle: FileHandle | undefined
  try {
    handle = await open(file, 'r')
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
    for (;;) {
      const { bytesRead } = await handle.read(chunk, 0, CHUNK_BYTES)
      if (bytesRead === 0) return
      yield chunk.subarray(0, bytesRead)
    }
  } catch (error) {
    throw ioFailure(error, file, 'reading')
  } finally {
    await handle?.close()
  }
}
