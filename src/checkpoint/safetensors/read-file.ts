/**
 * Bounded reads of the files of a folder: a whole small one, or the first bytes of a large one. Opens regular files
 * only, since a pipe could block for ever. Owns the handle while it reads; knows no format.
 */

import { readSync } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { ServingError } from '../../base/errors.ts'
import { checkpointError, errorAt, readFailure } from '../errors.ts'

/** A regular file that is open, with the size it had then. */
export interface OpenFile {
  readonly file: string
  readonly size: number
  /**
   * Exactly the bytes from `offset` to `offset + numBytes`, which the caller knows to be inside of `size`.
   *
   * @throws ServingError CHECKPOINT_CHANGED, CHECKPOINT_UNREADABLE
   */
  read(offset: number, numBytes: number): Promise<Buffer>
  /** The same without a promise, for formats whose parts are far smaller than a read. */
  readNow(offset: number, numBytes: number): Buffer
}

/** @throws ServingError CHECKPOINT_NOT_FOUND, CHECKPOINT_UNREADABLE, CHECKPOINT_UNSUPPORTED_KIND, what `use` throws */
export async function withFile<T>(file: string, use: (opened: OpenFile) => Promise<T>): Promise<T> {
  let handle: FileHandle | undefined
  try {
    if (!(await stat(file)).isFile()) {
      const details = { file, expected: 'a regular file', got: 'something else' }
      const next = 'put the file itself there'
      throw checkpointError('CHECKPOINT_UNSUPPORTED_KIND', { details: { ...details, next } })
    }
    handle = await open(file, 'r')
    const { size } = await handle.stat()
    const { fd } = handle
    return await use({
      file,
      size,
      read: readerOf(handle, file, size),
      readNow: (offset, numBytes) => readNow({ file, fd, size }, offset, numBytes),
    })
  } catch (cause) {
    if (cause instanceof ServingError) throw cause
    throw readFailure(file, 0, cause)
  } finally {
    await handle?.close()
  }
}

/** The whole file. @throws ServingError CHECKPOINT_TOO_LARGE above `limitBytes`, and those of `withFile` */
export function readWhole(file: string, limitBytes: number): Promise<Buffer> {
  return withFile(file, ({ size, read }) => {
    if (size <= limitBytes) return read(0, size)
    throw errorAt('CHECKPOINT_TOO_LARGE', {
      file,
      offset: 0,
      field: 'the file',
      expected: `at most ${limitBytes} bytes`,
      got: `${size} bytes`,
      next: 'no known model needs as much, so the file is not trusted',
    })
  })
}

/** A name that is there and unreadable counts: opening it then says why. */
export async function exists(file: string): Promise<boolean> {
  try {
    await stat(file)
    return true
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code !== 'ENOENT'
  }
}

function readerOf(handle: FileHandle, file: string, size: number): OpenFile['read'] {
  return async (offset, numBytes) => {
    const bytes = Buffer.allocUnsafe(numBytes)
    let filled = 0
    while (filled < numBytes) {
      const { bytesRead } = await handle.read(bytes, filled, numBytes - filled, offset + filled)
      if (bytesRead === 0) {
        const details = { file, expected: size, got: offset + filled }
        throw checkpointError('CHECKPOINT_CHANGED', { details })
      }
      filled += bytesRead
    }
    return bytes
  }
}

function readNow(
  { file, fd, size }: { readonly file: string; readonly fd: number; readonly size: number },
  offset: number,
  numBytes: number,
): Buffer {
  const bytes = Buffer.allocUnsafe(numBytes)
  for (let filled = 0; filled < numBytes; ) {
    const bytesRead = readSync(fd, bytes, filled, numBytes - filled, offset + filled)
    if (bytesRead === 0) {
      const details = { file, expected: size, got: offset + filled }
      throw checkpointError('CHECKPOINT_CHANGED', { details })
    }
    filled += bytesRead
  }
  return bytes
}
