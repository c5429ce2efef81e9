/**
 * The append-only file of changes to endpoints and aliases: one JSON object a line, a line for each change that was made
 * at once, each with the digest of the line before it.
 *
 * Owns the open file and what is in it. Does not know what a change means or who may make one.
 *
 *   {"version":1,"previous":"sha256:…","time":"…","changes":[{"sequence":7,"who":"…","what":"endpoint",…}]}⏎
 *
 * I1 `append` resolves only once the line is on the disk; when it rejects, the line is not in the file, or is cut off
 *    before anything else is written. Only where cutting fails too and the process then dies may a whole line stay.
 * I2 a line that was changed, left out or put in breaks the chain, and the file is not opened. That lines are missing at
 *    the end only shows to somebody who kept `head`.
 * I3 what a process that died has left of its last line is cut off: nobody was told of that change.
 * I4 one process writes; where the file has grown under it, nothing is written any more.
 */

import { createHash } from 'node:crypto'
import type { Clock } from '../base/clock.ts'
import type { CatalogHistory, NewChange } from '../deployment/endpoints/catalog-history.ts'
import type { CatalogChange } from '../deployment/endpoints/endpoints-admin.ts'
import { type HistoryFile, type HistoryFiles, historyDisk } from './catalog-history-disk.ts'
import { provenanceError } from './errors.ts'

export interface HistoryHead {
  /** Of the last change; 0 = none. */
  readonly sequence: number
  /** Of the last line, `sha256:` and 64 hex digits; of nothing: zeros. */
  readonly digest: string
}

interface Line {
  readonly version: typeof VERSION
  readonly previous: string
  readonly time: string
  readonly changes: readonly Omit<CatalogChange, 'time'>[]
}

const VERSION = 1
const NOTHING = `sha256:${'0'.repeat(64)}`
const LINE_BREAK = 0x0a

export class CatalogHistoryFile implements CatalogHistory {
  readonly #path: string
  readonly #clock: Clock
  readonly #file: HistoryFile
  readonly #changes: CatalogChange[]
  #digest: string
  #sizeBytes: number
  /** A failed write could not be taken back; it is tried again before the next one. */
  #isTorn = false
  #last: Promise<unknown> = Promise.resolve()

  private constructor(path: string, clock: Clock, file: HistoryFile, read: ReadHistory) {
    this.#path = path
    this.#clock = clock
    this.#file = file
    this.#changes = [...read.changes]
    this.#digest = read.digest
    this.#sizeBytes = read.sizeBytes
  }

  /** @throws ServingError HISTORY_OPEN_FAILED, HISTORY_CHAIN_BROKEN */
  static async open(
    path: string,
    clock: Clock,
    files: HistoryFiles = historyDisk,
  ): Promise<CatalogHistoryFile> {
    let file: HistoryFile | null = null
    try {
      file = await files.open(path)
      const bytes = await file.read()
      const read = readHistory(path, bytes)
      if (read.sizeBytes < bytes.length) await file.truncate(read.sizeBytes)
      return new CatalogHistoryFile(path, clock, file, read)
    } catch (error) {
      await file?.close()
      if ((error as { code?: unknown }).code === 'HISTORY_CHAIN_BROKEN') throw error
      const details = { file: path, reason: reasonOf(error) }
      throw provenanceError('HISTORY_OPEN_FAILED', { details, cause: error })
    }
  }

  /** For whoever keeps it where the file is not, such as the audit log. */
  get head(): HistoryHead {
    return { sequence: this.#changes.length, digest: this.#digest }
  }

  /** @throws ServingError HISTORY_WRITE_FAILED, HISTORY_FOREIGN_WRITE; then nothing may be applied */
  append(changes: readonly NewChange[]): Promise<readonly CatalogChange[]> {
    const result = this.#last.then(() => this.#append(changes))
    // Whoever asked hears of a failure; the next one does not.
    this.#last = result.catch(() => {})
    return result
  }

  async list(name?: string): Promise<readonly CatalogChange[]> {
    return this.#changes.filter((change) => name === undefined || change.name === name)
  }

  async close(): Promise<void> {
    await this.#last
    await this.#file.close()
  }

  async #append(changes: readonly NewChange[]): Promise<readonly CatalogChange[]> {
    if (changes.length === 0) return []
    const time = new Date(this.#clock.wallMs()).toISOString()
    const first = this.#changes.length + 1
    const numbered = changes.map((change, at) => ({ sequence: first + at, ...change }))
    const line: Line = { version: VERSION, previous: this.#digest, time, changes: numbered }
    const bytes = Buffer.from(`${JSON.stringify(line)}\n`)
    await this.#write(bytes)
    this.#sizeBytes += bytes.length
    this.#digest = digestOf(bytes.subarray(0, -1))
    const made = numbered.map((change) => ({ ...change, time }))
    this.#changes.push(...made)
    return made
  }

  async #write(bytes: Buffer): Promise<void> {
    try {
      if (this.#isTorn) await this.#cut()
      if ((await this.#file.sizeBytes()) !== this.#sizeBytes) {
        throw provenanceError('HISTORY_FOREIGN_WRITE', { details: { file: this.#path } })
      }
      this.#isTorn = true
      let start = 0
      while (start < bytes.length) start += await this.#file.write(bytes, start)
      await this.#file.datasync()
      this.#isTorn = false
    } catch (error) {
      if ((error as { code?: unknown }).code === 'HISTORY_FOREIGN_WRITE') throw error
      // Tried again before the next write when it fails.
      await this.#cut().catch(() => {})
      const details = { file: this.#path, reason: reasonOf(error) }
      throw provenanceError('HISTORY_WRITE_FAILED', { details, cause: error })
    }
  }

  async #cut(): Promise<void> {
    await this.#file.truncate(this.#sizeBytes)
    this.#isTorn = false
  }
}

interface ReadHistory {
  readonly changes: readonly CatalogChange[]
  readonly digest: string
  /** Up to the last whole line. */
  readonly sizeBytes: number
}

/** @throws ServingError HISTORY_CHAIN_BROKEN naming the line */
export function readHistory(path: string, bytes: Buffer): ReadHistory {
  const sizeBytes = bytes.lastIndexOf(LINE_BREAK) + 1
  const changes: CatalogChange[] = []
  let digest = NOTHING
  let start = 0
  for (let number = 1; start < sizeBytes; number += 1) {
    const end = bytes.indexOf(LINE_BREAK, start)
    const own = bytes.subarray(start, end)
    const line = parseLine(own)
    const broken = (reason: string) =>
      provenanceError('HISTORY_CHAIN_BROKEN', { details: { file: path, line: number, reason } })
    if (line === null) throw broken('it is no record')
    if (line.previous !== digest) {
      throw broken(`it follows ${line.previous}, and the line before it is ${digest}`)
    }
    for (const change of line.changes) {
      if (change.sequence !== changes.length + 1) {
        throw broken(`change ${changes.length + 1} is missing`)
      }
      changes.push({ ...change, time: line.time })
    }
    digest = digestOf(own)
    start = end + 1
  }
  return { changes, digest, sizeBytes }
}

function parseLine(bytes: Buffer): Line | null {
  try {
    const line = JSON.parse(bytes.toString('utf8')) as Partial<Line> | null
    const isLine =
      line?.version === VERSION && typeof line.time === 'string' && Array.isArray(line.changes)
    return isLine ? (line as Line) : null
  } catch {
    // What is no JSON is no record; the caller says so, with the line.
    return null
  }
}

function digestOf(line: Uint8Array): string {
  return `sha256:${createHash('sha256').update(line).digest('hex')}`
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}
