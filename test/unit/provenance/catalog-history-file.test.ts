import { createHash } from 'node:crypto'
import { appendFile, mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { NewChange } from '../../../src/deployment/endpoints/catalog-history.ts'
import { type HistoryFiles, historyDisk } from '../../../src/provenance/catalog-history-disk.ts'
import { CatalogHistoryFile } from '../../../src/provenance/catalog-history-file.ts'
import { caught } from '../../support/caught.ts'
import { endpointSpec } from '../../support/endpoint-builders.ts'
import { ManualClock } from '../../support/manual-clock.ts'
import { seededRandom } from '../../support/seeded-random.ts'

let folder: string
let path: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ingot-history-'))
  path = join(folder, 'endpoints', 'history.jsonl')
})
const opened: CatalogHistoryFile[] = []
afterEach(async () => {
  // A second close of a handle does nothing that matters here.
  for (const history of opened.splice(0)) await history.close().catch(() => {})
  await rm(folder, { recursive: true, force: true })
})

async function open(files?: HistoryFiles): Promise<CatalogHistoryFile> {
  const history = await CatalogHistoryFile.open(path, new ManualClock(), files)
  opened.push(history)
  return history
}

function change(name: string, fields: Partial<NewChange> = {}): NewChange {
  const after = endpointSpec({ name })
  return { who: 'ada', what: 'endpoint', name, origin: 'api', before: null, after, ...fields }
}

/** The disk, with a switch for each thing that can break. */
class FaultyDisk implements HistoryFiles {
  /** Bytes that may still be written; then ENOSPC, after a partial write. */
  spaceBytes = Number.POSITIVE_INFINITY
  canSync = true
  canTruncate = true

  async open(name: string) {
    const real = await historyDisk.open(name)
    return {
      read: () => real.read(),
      write: async (bytes: Uint8Array, start: number) => {
        if (this.spaceBytes <= 0) throw new Error('ENOSPC: no space left on device')
        const end = Math.min(bytes.length, start + Math.min(this.spaceBytes, 50))
        this.spaceBytes -= end - start
        return real.write(bytes.subarray(0, end), start)
      },
      sizeBytes: () => real.sizeBytes(),
      truncate: async (size: number) => {
        if (!this.canTruncate) throw new Error('EIO: i/o error')
        await real.truncate(size)
      },
      datasync: async () => {
        if (!this.canSync) throw new Error('EIO: i/o error')
        await real.datasync()
      },
      close: () => real.close(),
    }
  }
}

describe('the history', () => {
  it('numbers changes, keeps them over a restart, and finds them by name', async () => {
    const first = await open()
    const made = await first.append([change('a'), change('b')])
    const time = '2025-06-15T15:06:40.000Z'
    expect(made).toEqual([
      { ...change('a'), sequence: 1, time },
      { ...change('b'), sequence: 2, time },
    ])
    await first.close()
    const second = await open()
    expect(await second.list()).toEqual(made)
    const [third] = await second.append([change('a', { before: endpointSpec(), after: null })])
    expect(third?.sequence).toBe(3)
    expect(await second.list('a')).toEqual([made[0], third])
    await second.close()
  })

  it('is one line for what was changed at once, each with the digest of the line before', async () => {
    const history = await open()
    expect(history.head).toEqual({ sequence: 0, digest: `sha256:${'0'.repeat(64)}` })
    await history.append([change('a'), change('b')])
    await history.append([change('c')])
    await history.append([])
    await history.close()
    const lines = (await readFile(path, 'utf8')).split('\n')
    expect(lines).toHaveLength(3)
    expect(lines[2]).toBe('')
    const digest = (line: string) => `sha256:${createHash('sha256').update(line).digest('hex')}`
    expect(JSON.parse(lines[0]!).previous).toBe(`sha256:${'0'.repeat(64)}`)
    expect(JSON.parse(lines[1]!).previous).toBe(digest(lines[0]!))
    expect(history.head).toEqual({ sequence: 3, digest: digest(lines[1]!) })
    expect((await stat(path)).mode & 0o777).toBe(0o600)
  })

  it('writes changes that come together one after the other', async () => {
    const history = await open()
    const names = Array.from({ length: 20 }, (_, at) => `n${at}`)
    const made = await Promise.all(names.map((name) => history.append([change(name)])))
    expect(made.flat().map(({ sequence, name }) => [sequence, name])).toEqual(
      names.map((name, at) => [at + 1, name]),
    )
    await history.close()
    expect(await (await open()).list()).toEqual(made.flat())
  })

  it('refuses a change that finds no room, and takes it once there is some', async () => {
    const disk = new FaultyDisk()
    const history = await open(disk)
    await history.append([change('a')])
    const before = await readFile(path, 'utf8')
    disk.spaceBytes = 120
    expect(await caught(history.append([change('b')]))).toMatchObject({
      code: 'HISTORY_WRITE_FAILED',
      status: 503,
      message: expect.stringContaining('nothing was changed'),
    })
    expect(await readFile(path, 'utf8')).toBe(before)
    expect(await history.list()).toHaveLength(1)
    disk.spaceBytes = Number.POSITIVE_INFINITY
    expect((await history.append([change('b')]))[0]?.sequence).toBe(2)
    await history.close()
    expect((await (await open()).list()).map(({ name }) => name)).toEqual(['a', 'b'])
  })

  it('cuts off later what it could not cut off at once', async () => {
    const disk = new FaultyDisk()
    const history = await open(disk)
    disk.canSync = false
    disk.canTruncate = false
    expect((await caught(history.append([change('a')]))).code).toBe('HISTORY_WRITE_FAILED')
    disk.canSync = true
    expect((await caught(history.append([change('b')]))).code).toBe('HISTORY_WRITE_FAILED')
    disk.canTruncate = true
    await history.append([change('c')])
    await history.close()
    expect((await (await open()).list()).map(({ name }) => name)).toEqual(['c'])
  })

  it('cuts off what a process that died has left of its last line', async () => {
    const first = await open()
    const made = await first.append([change('a')])
    await first.close()
    await appendFile(path, '{"version":1,"previous":"sha256:')
    const second = await open()
    expect(await second.list()).toEqual(made)
    await second.append([change('b')])
    await second.close()
    expect(await (await open()).list()).toHaveLength(2)
  })

  it('writes nothing any more once another process has', async () => {
    const history = await open()
    await history.append([change('a')])
    await appendFile(path, 'x')
    for (const name of ['b', 'c']) {
      expect((await caught(history.append([change(name)]))).code).toBe('HISTORY_FOREIGN_WRITE')
    }
    expect((await readFile(path, 'utf8')).endsWith('}\nx')).toBe(true)
    await history.close()
  })

  it('is not opened where it cannot be', async () => {
    await writeFile(join(folder, 'endpoints'), 'a file')
    expect(await caught(open())).toMatchObject({
      code: 'HISTORY_OPEN_FAILED',
      message: expect.stringContaining('history.jsonl failed'),
    })
  })
})

describe('tampering shows', () => {
  async function written(): Promise<string[]> {
    const history = await open()
    for (const name of ['a', 'b', 'c']) await history.append([change(name), change(`${name}2`)])
    await history.close()
    return (await readFile(path, 'utf8')).trimEnd().split('\n')
  }

  it.each([
    [
      'a changed name',
      3,
      (lines: string[]) => [lines[0]!, lines[1]!.replace('"b"', '"x"'), lines[2]!],
    ],
    [
      'a changed byte of white space',
      2,
      (lines: string[]) => [`${lines[0]} `, lines[1]!, lines[2]!],
    ],
    ['a line left out', 2, (lines: string[]) => [lines[0]!, lines[2]!]],
    ['the first line left out', 1, (lines: string[]) => lines.slice(1)],
    ['a line twice', 3, (lines: string[]) => [lines[0]!, lines[1]!, lines[1]!, lines[2]!]],
    ['two lines in another order', 2, (lines: string[]) => [lines[0]!, lines[2]!, lines[1]!]],
    ['a line that is no record', 2, (lines: string[]) => [lines[0]!, '{"a":1}', lines[2]!]],
    ['a line that is no JSON', 2, (lines: string[]) => [lines[0]!, 'hello', lines[2]!]],
    ['an empty line', 3, (lines: string[]) => [lines[0]!, lines[1]!, '', lines[2]!]],
  ])('%s', async (_, line, tamper) => {
    await writeFile(path, `${tamper(await written()).join('\n')}\n`)
    const error = await caught(open())
    expect(error).toMatchObject({ code: 'HISTORY_CHAIN_BROKEN', details: { line } })
    expect(error.message).toContain(`but line ${line} does not`)
  })

  it('any changed byte but in the last line, which only the head shows', async () => {
    const lines = await written()
    const text = `${lines.join('\n')}\n`
    const guarded = text.length - lines[2]!.length - 1
    const random = seededRandom(1)
    for (let round = 0; round < 100; round += 1) {
      const bytes = Buffer.from(text)
      const at = random.below(guarded)
      bytes[at] = bytes[at]! ^ (1 << random.below(8))
      await writeFile(path, bytes)
      expect((await caught(open())).code, `byte ${at}`).toBe('HISTORY_CHAIN_BROKEN')
    }
  })

  it('a shorter file has another head', async () => {
    const lines = await written()
    const whole = await open()
    await truncate(path, lines[0]!.length + 1 + lines[1]!.length + 1)
    const short = await open()
    expect([whole.head.sequence, short.head.sequence]).toEqual([6, 4])
    expect(short.head.digest).not.toBe(whole.head.digest)
  })
})

it('whatever fails, exactly what was acknowledged is there after a restart', async () => {
  for (let seed = 0; seed < 15; seed += 1) {
    await rm(path, { force: true })
    const random = seededRandom(seed)
    const acknowledged: string[] = []
    for (let life = 0; life < 4; life += 1) {
      const disk = new FaultyDisk()
      const history = await open(disk)
      expect(
        (await history.list()).map(({ name }) => name),
        `seed ${seed}`,
      ).toEqual(acknowledged)
      for (let step = 0; step < 6; step += 1) {
        disk.spaceBytes = random.below(3) === 0 ? random.below(800) : Number.POSITIVE_INFINITY
        disk.canSync = random.below(5) > 0
        const names = Array.from(
          { length: 1 + random.below(3) },
          (_, at) => `${life}.${step}.${at}`,
        )
        try {
          await history.append(names.map((name) => change(name)))
          acknowledged.push(...names)
        } catch (error) {
          expect((error as { code: string }).code, `seed ${seed}`).toBe('HISTORY_WRITE_FAILED')
        }
      }
      await history.close()
      // Killed in the middle of a write.
      if (random.below(2) === 0)
        await appendFile(path, '{"version":1,"prev'.slice(0, 1 + random.below(17)))
    }
    const last = await open()
    expect(
      (await last.list()).map(({ name }) => name),
      `seed ${seed}`,
    ).toEqual(acknowledged)
    await last.close()
  }
})
