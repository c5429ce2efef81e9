/**
 * One member out of a zip archive into a file, hashed on the way.
 *
 * Owns the output file until it returns. The member's name is compared, never used as a path, so an archive cannot
 * write anywhere else. I1: no more bytes are written than the archive announced and `maxBytes` allows.
 */

import { createHash } from 'node:crypto'
import { type FileHandle, open, rm } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { type Entry, openPromise, type ZipFile } from 'yauzl'
import { ServingError } from '../../base/errors.ts'
import { checkFreeSpace, writeAll, writeFailure } from '../disk.ts'
import { ioFailure, reasonOf, storeError } from '../errors.ts'

export interface ExtractRequest {
  /** For messages. */
  readonly source: string
  readonly archive: string
  /** File name of the archive in messages. */
  readonly archiveName: string
  readonly member: string
  /** Written anew; removed again on failure. */
  readonly file: string
  readonly maxBytes: number
  readonly onProgress: (doneBytes: number, totalBytes: number) => void
  readonly signal: AbortSignal
}

/**
 * @returns sha256 (hex) and size of the member
 * @throws ServingError STORE_BAD_ARCHIVE, STORE_MEMBER_NOT_FOUND, STORE_TOO_LARGE, STORE_DISK_FULL, STORE_IO
 */
export async function extractMember(
  request: ExtractRequest,
): Promise<{ digest: string; sizeBytes: number }> {
  const { archive, source } = request
  let zip: ZipFile
  try {
    zip = await openPromise(archive, { lazyEntries: true, autoClose: false })
  } catch (error) {
    throw badArchive(source, error)
  }
  try {
    const entry = await findEntry(zip, request)
    return await writeEntry(zip, entry, request)
  } finally {
    zip.close()
  }
}

async function findEntry(zip: ZipFile, request: ExtractRequest): Promise<Entry> {
  const { source, member, archiveName } = request
  const similar: string[] = []
  try {
    for await (const entry of zip.eachEntry()) {
      request.signal.throwIfAborted()
      if (entry.fileName === member) return entry
      const isSimilar =
        basename(entry.fileName) === basename(member) || /\.gguf$/i.test(entry.fileName)
      if (isSimilar && similar.length < 10) similar.push(entry.fileName)
    }
  } catch (error) {
    request.signal.throwIfAborted()
    throw badArchive(source, error)
  }
  const got = similar.length === 0 ? 'no such file' : `only ${similar.join(', ')}`
  throw storeError('STORE_MEMBER_NOT_FOUND', {
    details: { source, member, file: archiveName, got },
  })
}

async function writeEntry(
  zip: ZipFile,
  entry: Entry,
  request: ExtractRequest,
): Promise<{ digest: string; sizeBytes: number }> {
  const { file, source, maxBytes } = request
  const total = entry.uncompressedSize
  if (total > maxBytes) {
    throw storeError('STORE_TOO_LARGE', { details: { source, expected: maxBytes, got: total } })
  }
  if (!entry.canDecodeFileData()) {
    throw badArchive(source, new Error('an encrypted member or an unknown compression'))
  }
  await checkFreeSpace(dirname(file), total)
  let handle: FileHandle
  try {
    handle = await open(file, 'w')
  } catch (error) {
    throw ioFailure(error, file, 'opening')
  }
  try {
    const digest = await copyEntry(zip, entry, { ...request, handle })
    await handle.close()
    return { digest, sizeBytes: total }
  } catch (error) {
    await handle.close()
    // A half member cannot be gone on with; the archive itself can.
    await rm(file, { force: true })
    request.signal.throwIfAborted()
    throw error
  }
}

async function copyEntry(
  zip: ZipFile,
  entry: Entry,
  request: ExtractRequest & { readonly handle: FileHandle },
): Promise<string> {
  const { source, signal, file, handle, onProgress } = request
  const total = entry.uncompressedSize
  const hash = createHash('sha256')
  let position = 0
  try {
    // yauzl's validateEntrySizes (on by default) ends the stream with an error beyond the announced size (I1).
    const stream = await zip.openReadStreamPromise(entry)
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      signal.throwIfAborted()
      await writeAll(handle, chunk, position).catch((error: unknown) => {
        throw writeFailure(error, file, total - position)
      })
      hash.update(chunk)
      position += chunk.length
      onProgress(position, total)
    }
  } catch (error) {
    if (error instanceof ServingError) throw error
    throw badArchive(source, error)
  }
  return hash.digest('hex')
}

function badArchive(source: string, error: unknown): Error {
  if (error instanceof ServingError) return error
  return storeError('STORE_BAD_ARCHIVE', {
    details: { source, got: reasonOf(error) },
    cause: error,
  })
}
