import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ServingError } from '../../../src/base/errors.ts'
import type { AppendFile } from '../../../src/provenance/append-file.ts'
import { type AuditFiles, diskFiles, rotatedName } from '../../../src/provenance/audit-files.ts'
import {
  AuditLog,
  type AuditLogOptions,
  DEFAULT_AUDIT_OPTIONS,
} from '../../../src/provenance/audit-log.ts'
import {
  AUDIT_RECORD_VERSION,
  type ConfigurationRecord,
} from '../../../src/provenance/audit-record.ts'
import { ManualClock } from '../../support/manual-clock.ts'

let folder: string
let file: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ingot-audit-'))
  file = join(folder, 'deep', 'audit.jsonl')
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const entry = (serial: number, padding = ''): ConfigurationRecord => ({
  type: 'configuration',
  version: AUDIT_RECORD_VERSION,
  time: '2026-01-01T00:00:00.000Z',
  settings: { serial, padding },
})

interface Opened {
  readonly log: AuditLog
  readonly failures: ServingError[]
  readonly written: number[]
}

async function open(options: Partial<AuditLogOptions> = {}, files = diskFiles): Promise<Opened> {
  const failures: ServingError[] = []
  const written: number[] = []
  const log = await AuditLog.open(
    { file, ...DEFAULT_AUDIT_OPTIONS, ...options },
    {
      files,
      clock: new ManualClock(),
      events: { written: (n) => written.push(n), failed: (error) => failures.push(error) },
    },
  )
  return { log, failures, written }
}

async function serials(path = file): Promise<number[]> {
  const text = await readFile(path, 'utf8')
  expect(text.endsWith('\n') || text === '').toBe(true)
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line).settings.serial)
}

/** The disk, with a switch for each thing that can break. */
class FaultyFiles implements AuditFiles {
  /** Bytes that may still be written; then ENOSPC, after a partial write. */
  spaceBytes = Number.POSITIVE_INFINITY
  canSync = true
  canRename = true
  numSyncs = 0

  async openForAppend(path: string): Promise<AppendFile> {
    const real = await diskFiles.openForAppend(path)
    return {
      write: async (bytes, start) => {
        if (this.spaceBytes <= 0) throw new Error('ENOSPC: no space left on device')
        const end = Math.min(bytes.length, start + Math.min(this.spaceBytes, 7))
        this.spaceBytes -= end - start
        return real.write(bytes.subarray(0, end), start)
      },
      datasync: async () => {
        this.numSyncs += 1
        if (!this.canSync) throw new Error('EIO: i/o error')
        await real.datasync()
      },
      sizeBytes: () => real.sizeBytes(),
      truncate: (size) => real.truncate(size),
      close: () => real.close(),
    }
  }

  endsTorn(path: string): Promise<boolean> {
    return diskFiles.endsTorn(path)
  }

  async rename(from: string, to: string): Promise<void> {
    if (!this.canRename) throw new Error('EACCES: permission denied')
    await diskFiles.rename(from, to)
  }
}

describe('writing', () => {
  it('appends one line a record in order, and goes on where an earlier process ended', async () => {
    const first = await open()
    for (let serial = 0; serial < 100; serial += 1) first.log.append(entry(serial))
    expect(await first.log.close()).toBe(0)
    const second = await open()
    second.log.append(entry(100))
    await second.log.close()
    expect(await serials()).toEqual(Array.from({ length: 101 }, (_, serial) => serial))
    expect(first.written.reduce((sum, n) => sum + n, 0)).toBe(100)
    expect(first.failures).toEqual([])
  })

  it('writes what came during a write as one batch', async () => {
    const { log, written } = await open()
    for (let serial = 0; serial < 50; serial += 1) log.append(entry(serial))
    await log.flush()
    expect(written.length).toBeLessThanOrEqual(2)
    await log.close()
  })

  it('flush waits for records that are appended while it writes', async () => {
    const { log } = await open({ fsync: 'batch' })
    log.append(entry(0))
    const flushed = log.flush()
    log.append(entry(1))
    await flushed
    expect(await serials()).toEqual([0, 1])
    await log.close()
  })

  it('puts the file where only its owner can read it', async () => {
    const { log } = await open()
    const { mode } = await import('node:fs/promises').then(({ stat }) => stat(file))
    expect(mode & 0o777).toBe(0o600)
    await log.close()
  })

  it.each([
    ['batch', 1],
    ['interval', 1],
    ['never', 0],
  ] as const)('under fsync %s a flush syncs %i times', async (fsync, numSyncs) => {
    const files = new FaultyFiles()
    const { log } = await open({ fsync }, files)
    log.append(entry(0))
    await log.flush()
    expect(files.numSyncs).toBe(numSyncs)
    await log.close()
  })
})

describe('files that somebody else left', () => {
  it('ends a torn last line, so that no new record is joined to it', async () => {
    await (await open()).log.close()
    await writeFile(file, '{"type":"configuration","settings":{"serial":0}}\n{"type":"conf')
    const { log } = await open()
    log.append(entry(1))
    await log.close()
    const lines = (await readFile(file, 'utf8')).split('\n')
    expect(lines[1]).toBe('{"type":"conf')
    expect(JSON.parse(lines[2] as string).settings.serial).toBe(1)
    expect(lines).toHaveLength(4)
  })

  it('a file that cannot be opened is an error at start that names file and reason', async () => {
    await writeFile(join(folder, 'deep'), 'not a folder')
    await expect(open()).rejects.toMatchObject({ code: 'AUDIT_OPEN_FAILED' })
    await expect(open()).rejects.toThrow(/audit\.jsonl/)
  })
})

describe('a disk that is full', () => {
  it('keeps the records, turns the status red, and writes each once when there is space again', async () => {
    const files = new FaultyFiles()
    const { log, failures } = await open({ retryMs: 10 }, files)
    log.append(entry(0))
    await log.flush()
    files.spaceBytes = 20
    log.append(entry(1))
    log.append(entry(2))
    await log.flush()
    expect(failures[0]).toMatchObject({ code: 'AUDIT_WRITE_FAILED', retryable: true })
    expect(log.status()).toMatchObject({ isHealthy: false, numPending: 2 })
    expect(log.status().reason).toContain('ENOSPC')
    files.spaceBytes = Number.POSITIVE_INFINITY
    log.append(entry(3))
    await expect.poll(() => log.status()).toEqual({ isHealthy: true, numPending: 0, reason: null })
    expect(await serials()).toEqual([0, 1, 2, 3])
    await log.close()
  })

  it('leaves lines of another process alone when it takes back a partial write', async () => {
    const files = new FaultyFiles()
    const { log } = await open({ retryMs: 100_000 }, files)
    files.spaceBytes = 10
    log.append(entry(1))
    await log.flush()
    await writeFile(file, `${JSON.stringify(entry(77))}\n`, { flag: 'a' })
    files.spaceBytes = Number.POSITIVE_INFINITY
    await log.flush()
    await log.close()
    const text = await readFile(file, 'utf8')
    expect(text).toContain(JSON.stringify(entry(77)))
    expect(text.split('\n').filter((line) => line === JSON.stringify(entry(1)))).toHaveLength(1)
  })

  it('takes no new requests once the backlog is full, and says when to come back', async () => {
    const files = new FaultyFiles()
    const { log } = await open({ retryMs: 2500, maxPending: 2 }, files)
    files.spaceBytes = 0
    log.append(entry(1))
    expect(() => log.assertAccepting()).not.toThrow()
    log.append(entry(2))
    expect(() => log.assertAccepting()).toThrow(
      expect.objectContaining({ code: 'AUDIT_BACKLOG_FULL', status: 503, retryAfterSeconds: 3 }),
    )
    await log.close()
  })

  it('close says how many records it could not write', async () => {
    const files = new FaultyFiles()
    const { log, failures } = await open({}, files)
    files.spaceBytes = 0
    log.append(entry(1))
    log.append(entry(2))
    expect(await log.close()).toBe(2)
    expect(failures.length).toBeGreaterThan(0)
  })

  it('reports a sync that fails', async () => {
    const files = new FaultyFiles()
    const { log, failures } = await open({ fsync: 'interval' }, files)
    files.canSync = false
    log.append(entry(1))
    await log.flush()
    expect(failures[0]?.message).toContain('EIO')
    expect(log.status().isHealthy).toBe(false)
    files.canSync = true
    log.append(entry(2))
    await log.flush()
    expect(log.status().isHealthy).toBe(true)
    expect(await serials()).toEqual([1, 2])
    await log.close()
  })
})

describe('after close', () => {
  it('refuses requests and reports records that come too late', async () => {
    const { log, failures } = await open()
    await log.close()
    expect(() => log.assertAccepting()).toThrow(expect.objectContaining({ code: 'AUDIT_CLOSED' }))
    log.append(entry(1))
    expect(failures[0]).toMatchObject({ code: 'AUDIT_CLOSED' })
    expect(log.status().isHealthy).toBe(false)
    expect(await log.close()).toBe(1)
  })
})

describe('rotation', () => {
  it('begins a new file when the size is reached, and loses nothing', async () => {
    const { log } = await open({ maxFileBytes: 400 })
    for (let serial = 0; serial < 12; serial += 1) {
      log.append(entry(serial, 'x'.repeat(40)))
      await log.flush()
    }
    await log.close()
    const names = (await readdir(join(folder, 'deep'))).sort()
    const all = (await Promise.all(names.map((name) => serials(join(folder, 'deep', name))))).flat()
    expect(names.length).toBeGreaterThan(2)
    expect(names.every((name) => /^audit(\.20250615T\w+-\d+)?\.jsonl$/.test(name))).toBe(true)
    expect(all.sort((a, b) => a - b)).toEqual(Array.from({ length: 12 }, (_, serial) => serial))
  })

  it('a rotation that fails is reported and loses nothing', async () => {
    const files = new FaultyFiles()
    files.canRename = false
    const { log, failures } = await open({ maxFileBytes: 50 }, files)
    log.append(entry(0))
    await log.flush()
    expect(failures[0]?.message).toContain('EACCES')
    expect(log.status().isHealthy).toBe(false)
    files.canRename = true
    log.append(entry(1))
    await log.flush()
    expect(log.status().isHealthy).toBe(true)
    await log.close()
    const [name] = await readdir(join(folder, 'deep'))
    expect(await serials(join(folder, 'deep', name as string))).toEqual([0, 1])
  })

  it('names sort by time', () => {
    const at = Date.parse('2026-01-02T03:04:05.678Z')
    expect(rotatedName('/a.b/audit.jsonl', at, 3)).toBe('/a.b/audit.20260102T030405678Z-3.jsonl')
    expect(rotatedName('/a.b/audit', at, 0)).toBe('/a.b/audit.20260102T030405678Z-0')
  })
})
