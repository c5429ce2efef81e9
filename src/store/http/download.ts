/**
 * One URL into one partial file, going on where an earlier attempt or process stopped.
 *
 * Owns `FILE` and beside it `FILE.json`, which says what the bytes in it are the beginning of. The caller holds the lock.
 *
 *   FILE   0 ───── already there, hashed again ───── start ───── Range: bytes=start- ───── sizeBytes
 *
 * I1: bytes are only appended to bytes of the same identity and the same ETag; otherwise it starts from 0.
 * I2: a returned file has the announced size, and the expected digest when there is one.
 */

import { createHash, type Hash } from 'node:crypto'
import { type FileHandle, open, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ServingError } from '../../base/errors.ts'
import {
  checkFreeSpace,
  fileSize,
  readJson,
  writeAll,
  writeFailure,
  writeTextDurably,
} from '../disk.ts'
import { ioFailure, shownUrl, storeError } from '../errors.ts'
import { discard, type HttpClient, type HttpResponse } from './http-client.ts'

export interface ExpectedDigest {
  readonly algorithm: 'sha256' | 'sha384' | 'sha512'
  /** Lower-case hex. */
  readonly hex: string
}

export interface DownloadRequest {
  /** For messages. */
  readonly source: string
  readonly url: URL
  readonly headers?: Readonly<Record<string, string>>
  /** The partial file. */
  readonly file: string
  /** What the bytes are, however the URL is signed today: partial files of another identity are dropped. */
  readonly identity: string
  readonly digest: ExpectedDigest | null
  readonly sizeBytes: number | null
  readonly maxBytes: number
  readonly onProgress: (doneBytes: number, totalBytes: number | null) => void
  readonly signal: AbortSignal
}

export interface DownloadResult {
  readonly sizeBytes: number
  /** In the expected digest's algorithm, sha256 without one. */
  readonly digest: string
  /** As the server sent it. */
  readonly etag: string | null
}

interface PartialState {
  readonly identity: string
  readonly etag: string | null
  readonly sizeBytes: number | null
}

const READ_BYTES = 1024 * 1024
/** What an interrupted attempt must have brought to not count, so that a byte at a time does not go on for ever. */
const PROGRESS_BYTES = 1024 * 1024

/**
 * Download, resume, verify. The file is left in place for the caller to move.
 *
 * @throws ServingError STORE_NETWORK, STORE_HTTP_STATUS, STORE_DOWNLOAD_INCOMPLETE, STORE_DIGEST_MISMATCH,
 * STORE_TOO_LARGE, STORE_DISK_FULL, STORE_IO; the signal's reason when it is aborted
 */
export async function download(
  http: HttpClient,
  request: DownloadRequest,
): Promise<DownloadResult> {
  const first = new Download(http, request)
  const resumed = await first.restore()
  try {
    return await first.run()
  } catch (error) {
    if (!first.isResumable) await removePartial(request.file)
    // A beginning from another day may have gone bad on disk: worth one fresh start, since the end result is checked.
    const isMismatch = error instanceof ServingError && error.code === 'STORE_DIGEST_MISMATCH'
    if (!isMismatch || !resumed) throw error
    return await new Download(http, request).run()
  }
}

/** Drop a partial file and what is known of it. */
export async function removePartial(file: string): Promise<void> {
  await rm(file, { force: true })
  await rm(`${file}.json`, { force: true })
}

class Download {
  private readonly http: HttpClient
  private readonly request: DownloadRequest
  private hash: Hash
  private position: number
  private etag: string | null
  private total: number | null

  constructor(http: HttpClient, request: DownloadRequest) {
    this.http = http
    this.request = request
    this.hash = createHash(request.digest?.algorithm ?? 'sha256')
    this.position = 0
    this.etag = null
    this.total = request.sizeBytes
  }

  /** Whether what lies on disk can be told apart from the beginning of other bytes. */
  get isResumable(): boolean {
    // Without a validator only a digest over the whole can tell that two halves belong together.
    return this.request.digest !== null || isStrong(this.etag)
  }

  /** Take over what lies on disk if it is the beginning of the same bytes. @returns whether there was any */
  async restore(): Promise<boolean> {
    const { file, identity, digest } = this.request
    const state = (await readJson(`${file}.json`)) as Partial<PartialState> | undefined
    const size = await fileSize(file)
    const etag = typeof state?.etag === 'string' ? state.etag : null
    const isSame = state?.identity === identity && (isStrong(etag) || digest !== null)
    if (!isSame || size === undefined || size === 0) return false
    const total = typeof state.sizeBytes === 'number' ? state.sizeBytes : this.total
    if (total === null || size > total) return false
    await this.hashExisting(size)
    this.etag = etag
    this.total = total
    return true
  }

  async run(): Promise<DownloadResult> {
    const { request, http } = this
    let attempts = 0
    while (this.position === 0 || this.position !== this.total) {
      const before = this.position
      attempts++
      const failure = await this.receive()
      if (failure === null) break
      if (this.position - before >= PROGRESS_BYTES) attempts = 0
      if (attempts >= http.maxAttempts) throw this.incomplete(attempts, failure)
      await http.pause(attempts + 1, request.signal)
    }
    const digest = this.hash.digest('hex')
    await this.verify(digest)
    return { sizeBytes: this.position, digest, etag: this.etag }
  }

  /** One response. @returns `null` when all bytes came, else why it ended early */
  private async receive(): Promise<unknown> {
    const { request } = this
    const response = await this.open()
    let handle: FileHandle
    try {
      handle = await this.openFile()
    } catch (error) {
      response.body.destroy()
      throw error
    }
    try {
      for await (const chunk of response.body) {
        await this.append(handle, chunk as Buffer)
      }
      request.signal.throwIfAborted()
      this.total ??= this.position
      return this.position === this.total ? null : new Error('the connection ended')
    } catch (error) {
      request.signal.throwIfAborted()
      if (error instanceof ServingError) throw error
      return error
    } finally {
      response.body.destroy()
      await handle.close()
    }
  }

  private async open(): Promise<HttpResponse> {
    if (!this.isResumable) this.restart()
    const { request, http, position } = this
    const headers: Record<string, string> = { ...request.headers, 'accept-encoding': 'identity' }
    if (position > 0) {
      headers.range = `bytes=${position}-`
      if (this.etag !== null && isStrong(this.etag)) headers['if-range'] = this.etag
    }
    const { signal, url } = request
    const response = await http.get(url, { headers, signal, accept: position > 0 ? [416] : [] })
    try {
      if (position > 0 && response.status === 206 && this.continues(response)) return response
      if (position > 0 && (response.status === 416 || response.status === 206)) {
        await discard(response)
        this.restart()
        return await this.open()
      }
      if (response.status !== 200) {
        throw badResponse(url, 'status 200', `status ${response.status}`)
      }
      // A 200 to a Range request is the whole file again: the server knows no ranges, or the file is another one.
      this.restart()
      await this.begin(response)
      return response
    } catch (error) {
      response.body.destroy()
      throw error
    }
  }

  private continues({ headers }: HttpResponse): boolean {
    const match = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers['content-range'] ?? '')
    if (match === null || Number(match[1]) !== this.position) return false
    const isSameSize = match[2] === '*' || this.total === null || Number(match[2]) === this.total
    const isSameFile =
      this.etag === null || headers.etag === undefined || headers.etag === this.etag
    return isSameSize && isSameFile
  }

  /** Note down what begins here, before its first byte is written. */
  private async begin(response: HttpResponse): Promise<void> {
    const { file, identity, source, maxBytes, sizeBytes, digest, url } = this.request
    const { headers } = response
    const length =
      headers['content-length'] === undefined ? null : Number(headers['content-length'])
    const coding = headers['content-encoding'] ?? 'identity'
    if (coding !== 'identity') {
      throw badResponse(url, 'the bytes as they are', `${coding} coding`)
    }
    if (length !== null && sizeBytes !== null && length !== sizeBytes) {
      throw badResponse(url, `${sizeBytes} bytes`, `${length} bytes`)
    }
    const showsItsEnd = length !== null || headers['transfer-encoding'] === 'chunked'
    if (!showsItsEnd && sizeBytes === null && digest === null) {
      // Such a body ends with the connection, so a cut one would look whole.
      throw badResponse(url, 'a content-length', 'neither that nor chunks')
    }
    this.etag = headers.etag ?? null
    this.total = length ?? sizeBytes
    if (this.total !== null && this.total > maxBytes) {
      throw storeError('STORE_TOO_LARGE', {
        details: { source, expected: maxBytes, got: this.total },
      })
    }
    await checkFreeSpace(dirname(file), this.total ?? 0)
    const state: PartialState = { identity, etag: this.etag, sizeBytes: this.total }
    // Emptied before it is said anew what it is the beginning of (I1).
    await writeFile(file, '').catch((error: unknown) => {
      throw writeFailure(error, file, this.total ?? 0)
    })
    await writeTextDurably(`${file}.json`, JSON.stringify(state))
  }

  private async append(handle: FileHandle, chunk: Buffer): Promise<void> {
    const { request, position, total } = this
    const end = position + chunk.length
    const limit = total ?? request.maxBytes
    if (end > limit) {
      const details = { source: request.source, expected: limit, got: `at least ${end}` }
      throw storeError('STORE_TOO_LARGE', { details })
    }
    try {
      await writeAll(handle, chunk, position)
    } catch (error) {
      throw writeFailure(error, request.file, (total ?? end) - position)
    }
    this.hash.update(chunk)
    this.position = end
    request.onProgress(end, total)
  }

  private async verify(got: string): Promise<void> {
    const { digest, source, file } = this.request
    if (digest === null || digest.hex === got) return
    await removePartial(file)
    const { algorithm, hex: expected } = digest
    throw storeError('STORE_DIGEST_MISMATCH', { details: { source, algorithm, expected, got } })
  }

  private async hashExisting(size: number): Promise<void> {
    const { file, signal, onProgress } = this.request
    const handle = await open(file, 'r')
    try {
      const chunk = Buffer.allocUnsafe(Math.min(READ_BYTES, size))
      while (this.position < size) {
        signal.throwIfAborted()
        const { bytesRead } = await handle.read(chunk, 0, chunk.length, this.position)
        if (bytesRead === 0) break
        this.hash.update(chunk.subarray(0, bytesRead))
        this.position += bytesRead
        onProgress(this.position, this.total)
      }
    } catch (error) {
      signal.throwIfAborted()
      throw ioFailure(error, file, 'reading')
    } finally {
      await handle.close()
    }
  }

  private async openFile(): Promise<FileHandle> {
    const { file } = this.request
    try {
      return await open(file, this.position > 0 ? 'r+' : 'w')
    } catch (error) {
      throw ioFailure(error, file, 'opening')
    }
  }

  private restart(): void {
    this.position = 0
    this.etag = null
    this.total = this.request.sizeBytes
    this.hash = createHash(this.request.digest?.algorithm ?? 'sha256')
  }

  private incomplete(attempts: number, cause: unknown): Error {
    const url = shownUrl(this.request.url)
    const details = { url, expected: this.total ?? 'all', got: this.position, attempts }
    return storeError('STORE_DOWNLOAD_INCOMPLETE', { details, cause })
  }
}

function badResponse(url: URL, expected: string, got: string): Error {
  return storeError('STORE_BAD_RESPONSE', { details: { url: shownUrl(url), expected, got } })
}

function isStrong(etag: string | null): boolean {
  return etag !== null && /^"[^"]*"$/.test(etag)
}
