/**
 * The append-only file of audit records: one JSON object a line, written in batches, rotated by size.
 *
 * Owns the open file and the records that are not in it yet. Does not know what a record means, HTTP or health routes.
 *
 * I1 a record is lost only when `close` fails to write it, and `close` says how many; until then it is kept in memory,
 *    the fault stands in `status()`, and writing is tried again every `retryMs`.
 * I2 a record is in the file once, on a line of its own: what a failed write left is cut off before the next attempt,
 *    or, where another process has written behind it or an earlier one died there, ended with a line break.
 * I3 one write at a time, so records lie in the order of `append`.
 */

import type { Clock } from '../base/clock.ts'
import type { ServingError } from '../base/errors.ts'
import type { AppendFile } from './append-file.ts'
import { type AuditFiles, rotatedName } from './audit-files.ts'
import type { AuditEntry } from './audit-record.ts'
import { provenanceError } from './errors.ts'

/** When records reach the disk itself: with each batch, at most `fsyncMs` later, or when the system pleases. */
export type FsyncPolicy = 'batch' | 'interval' | 'never'

export interface AuditLogOptions {
  readonly file: string
  readonly fsync: FsyncPolicy
  /** Milliseconds between two syncs under `interval`. */
  readonly fsyncMs: number
  /** A file that has grown to this many bytes is renamed and a new one begun. Nothing is ever deleted. */
  readonly maxFileBytes: number
  /** Records waiting to be written from which on `assertAccepting` refuses new requests. */
  readonly maxPending: number
  /** Milliseconds between two attempts after a failure. */
  readonly retryMs: number
}

export const DEFAULT_AUDIT_OPTIONS: Omit<AuditLogOptions, 'file'> = Object.freeze({
  fsync: 'interval',
  fsyncMs: 1000,
  maxFileBytes: 256 * 1024 * 1024,
  maxPending: 10_000,
  retryMs: 1000,
})

export interface AuditLogStatus {
  readonly isHealthy: boolean
  readonly numPending: number
  /** The last failure's sentence; `null` once a write succeeded again. */
  readonly reason: string | null
}

/** What the log tells as it happens, for counters and the process's own log. */
export interface AuditLogEvents {
  written(numRecords: number): void
  failed(error: ServingError): void
}

export interface AuditLogTools {
  readonly events: AuditLogEvents
  readonly files: AuditFiles
  readonly clock: Clock
}

/** What routes need of the log. */
export interface AuditSink {
  /** Queue one entry; returns at once and never throws. */
  append(entry: AuditEntry): void
  /** @throws ServingError AUDIT_BACKLOG_FULL or AUDIT_CLOSED: the answer could not be recorded, so none is given. */
  assertAccepting(): void
  status(): AuditLogStatus
}

export class AuditLog implements AuditSink {
  readonly #options: AuditLogOptions
  readonly #tools: AuditLogTools
  #pending: string[] = []
  #file: AppendFile | null = null
  #sizeBytes = 0
  /** Bytes behind `#sizeBytes` that a failed write left. */
  #numTornBytes = 0
  #needsLineBreak = false
  #isUnsynced = false
  #isClosed = false
  #numRotations = 0
  #failure: ServingError | null = null
  #writing: Promise<void> | null = null
  #syncTimer: NodeJS.Timeout | null = null
  #retryTimer: NodeJS.Timeout | null = null

  private constructor(options: AuditLogOptions, tools: AuditLogTools) {
    this.#options = options
    this.#tools = tools
  }

  /** Open or make the file, so that a log that cannot be written is known at start. @throws AUDIT_OPEN_FAILED */
  static async open(options: AuditLogOptions, tools: AuditLogTools): Promise<AuditLog> {
    const log = new AuditLog(options, tools)
    try {
      await log.#open()
    } catch (cause) {
      const details = { file: options.file, reason: reasonOf(cause) }
      throw provenanceError('AUDIT_OPEN_FAILED', { details, cause })
    }
    return log
  }

  /** Cost: one JSON.stringify. */
  append(entry: AuditEntry): void {
    this.#pending.push(`${JSON.stringify(entry)}\n`)
    if (this.#isClosed) this.#fail('AUDIT_CLOSED', null)
    else if (this.#retryTimer === null) this.#kick()
  }

  assertAccepting(): void {
    if (this.#isClosed) throw provenanceError('AUDIT_CLOSED')
    if (this.#pending.length < this.#options.maxPending) return
    const details = { numPending: this.#pending.length, limit: this.#options.maxPending }
    const retryAfterSeconds = Math.ceil(this.#options.retryMs / 1000)
    throw provenanceError('AUDIT_BACKLOG_FULL', { details, retryAfterSeconds })
  }

  status(): AuditLogStatus {
    const reason = this.#failure?.message ?? null
    return { isHealthy: reason === null, numPending: this.#pending.length, reason }
  }

  /** Resolves when everything appended so far was written (and synced, unless `never`), or has failed once more. */
  async flush(): Promise<void> {
    this.#stopTimers()
    await this.#writing
    this.#kick()
    await this.#writing
    if (this.#options.fsync !== 'never') await this.#sync()
  }

  /** Write what is left, sync, close; a second call does nothing. Returns how many records could not be written. */
  async close(): Promise<number> {
    if (this.#isClosed) return this.#pending.length
    await this.flush()
    this.#isClosed = true
    this.#stopTimers()
    await this.#file?.close()
    this.#file = null
    return this.#pending.length
  }

  #kick(): void {
    if (this.#writing !== null || this.#pending.length === 0) return
    this.#writing = this.#drain().finally(() => {
      this.#writing = null
    })
  }

  /** Batches form by themselves: whatever was appended during a write is the next one. */
  async #drain(): Promise<void> {
    while (this.#pending.length > 0) {
      const numRecords = this.#pending.length
      try {
        await this.#writeBatch(this.#pending.join(''))
      } catch (cause) {
        this.#fail('AUDIT_WRITE_FAILED', cause)
        this.#retryLater()
        return
      }
      this.#pending.splice(0, numRecords)
      this.#failure = null
      this.#tools.events.written(numRecords)
      if (this.#sizeBytes >= this.#options.maxFileBytes) await this.#rotate()
    }
  }

  async #writeBatch(lines: string): Promise<void> {
    const file = this.#file ?? (await this.#open())
    if (this.#numTornBytes > 0) await this.#heal(file)
    const bytes = Buffer.from(this.#needsLineBreak ? `\n${lines}` : lines)
    while (this.#numTornBytes < bytes.length) {
      this.#numTornBytes += await file.write(bytes, this.#numTornBytes)
    }
    if (this.#options.fsync === 'batch') await file.datasync()
    this.#isUnsynced = this.#options.fsync !== 'batch'
    this.#needsLineBreak = false
    this.#numTornBytes = 0
    this.#sizeBytes += bytes.length
    if (this.#options.fsync === 'interval') this.#syncLater()
  }

  /** Take back what a failed write left; only where nobody else wrote, because their lines must stay. */
  async #heal(file: AppendFile): Promise<void> {
    const isOurs = (await file.sizeBytes()) === this.#sizeBytes + this.#numTornBytes
    if (isOurs) await file.truncate(this.#sizeBytes)
    this.#needsLineBreak ||= !isOurs
    this.#numTornBytes = 0
  }

  async #open(): Promise<AppendFile> {
    const { files } = this.#tools
    const file = await files.openForAppend(this.#options.file)
    this.#needsLineBreak = await files.endsTorn(this.#options.file)
    this.#sizeBytes = await file.sizeBytes()
    this.#numTornBytes = 0
    this.#file = file
    return file
  }

  /** A rotation that fails does not lose the batch: the file stays, and the next batch tries it again. */
  async #rotate(): Promise<void> {
    const file = this.#file
    if (file === null) return
    const serial = this.#numRotations
    const name = rotatedName(this.#options.file, this.#tools.clock.wallMs(), serial)
    try {
      await file.datasync()
      await this.#tools.files.rename(this.#options.file, name)
      this.#file = null
      this.#numRotations = serial + 1
      this.#isUnsynced = false
      await file.close()
    } catch (cause) {
      this.#fail('AUDIT_WRITE_FAILED', cause)
    }
  }

  async #sync(): Promise<void> {
    if (!this.#isUnsynced || this.#file === null) return
    this.#isUnsynced = false
    try {
      await this.#file.datasync()
    } catch (cause) {
      this.#isUnsynced = true
      this.#fail('AUDIT_WRITE_FAILED', cause)
    }
  }

  #syncLater(): void {
    if (this.#syncTimer !== null || this.#isClosed) return
    this.#syncTimer = setTimeout(() => {
      this.#syncTimer = null
      void this.#sync()
    }, this.#options.fsyncMs)
    this.#syncTimer.unref()
  }

  #retryLater(): void {
    if (this.#retryTimer !== null || this.#isClosed) return
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = null
      this.#kick()
    }, this.#options.retryMs)
    this.#retryTimer.unref()
  }

  #stopTimers(): void {
    if (this.#syncTimer !== null) clearTimeout(this.#syncTimer)
    if (this.#retryTimer !== null) clearTimeout(this.#retryTimer)
    this.#syncTimer = null
    this.#retryTimer = null
  }

  #fail(code: 'AUDIT_WRITE_FAILED' | 'AUDIT_CLOSED', cause: unknown): void {
    const { file } = this.#options
    const details = { file, numPending: this.#pending.length, reason: reasonOf(cause) }
    this.#failure = provenanceError(code, { details, cause })
    this.#tools.events.failed(this.#failure)
  }
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}
