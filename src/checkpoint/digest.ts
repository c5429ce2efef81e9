/**
 * SHA-256 of a regular file, streamed; a pipe could block for ever. Knows nothing of what the file holds.
 */

import { createHash } from 'node:crypto'
import { open, stat } from 'node:fs/promises'
import { ServingError } from '../base/errors.ts'
import { checkpointError, readFailure } from './errors.ts'

/** Large enough that hashing, not reading, is the limit. */
const CHUNK_BYTES = 1024 * 1024

export interface DigestOptions {
  /** Called after every chunk of 1 MiB. */
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void
  readonly signal?: AbortSignal
}

/**
 * Hash the whole file.
 *
 * @returns 64 lower-case hex digits
 * @throws ServingError CHECKPOINT_NOT_FOUND, CHECKPOINT_UNREADABLE or CHECKPOINT_UNSUPPORTED_KIND; the signal's reason when it is aborted
 *
 * Cost: about 1 s a gigabyte; holds 1 MiB.
 */
export async function digestFile(file: string, options: DigestOptions = {}): Promise<string> {
  const { onProgress, signal } = options
  const hash = createHash('sha256')
  let doneBytes = 0
  try {
    const kind = await stat(file)
    // Opening a folder fails by itself.
    if (!kind.isFile() && !kind.isDirectory()) {
      const details = { file, expected: 'a regular file', got: 'something else' }
      const next = 'put the file itself there'
      throw checkpointError('CHECKPOINT_UNSUPPORTED_KIND', { details: { ...details, next } })
    }
    const handle = await open(file, 'r')
    try {
      const { size } = await handle.stat()
      const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
      for (;;) {
        signal?.throwIfAborted()
        const { bytesRead } = await handle.read(chunk, 0, CHUNK_BYTES, doneBytes)
        if (bytesRead === 0) break
        hash.update(chunk.subarray(0, bytesRead))
        doneBytes += bytesRead
        onProgress?.(doneBytes, size)
      }
    } finally {
      await handle.close()
    }
  } catch (cause) {
    if (signal?.aborted) throw signal.reason
    if (cause instanceof ServingError) throw cause
    throw readFailure(file, doneBytes, cause)
  }
  return hash.digest('hex')
}
