/** The disk cache of KV on a real folder: who finds what, what a broken file or disk does, and what stays. */

import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  forgetEverybody,
  forgetTenant,
  kvDiskUsage,
} from '../../../../src/execution/kv-disk/forget-tenant.ts'
import { type KvFiles, openKvFiles } from '../../../../src/execution/kv-disk/kv-files.ts'
import { configurationFolder, nameOf } from '../../../../src/execution/kv-disk/kv-name.ts'
import {
  chain,
  DiskTierStage,
  FILE_BYTES,
  loadAll,
  saveAll,
} from '../../../support/disk-tier-stage.ts'

let stage: DiskTierStage
beforeEach(() => {
  stage = new DiskTierStage()
})
afterEach(() => stage.remove())

/** Three blocks of alice's, written. */
async function written() {
  const tier = await stage.open()
  const keys = chain(tier, 3)
  saveAll(tier, keys)
  await tier.close()
  const paths = keys.map((key) => join(stage.folder, nameOf(key).path))
  return { keys, paths: paths as [string, string, string] }
}

describe('blocks on disk', () => {
  it('are found again by another process, as they were', async () => {
    await written()
    const tier = await stage.open()
    const keys = chain(tier, 4)
    expect(keys.map((key) => tier.has(key))).toEqual([true, true, true, false])
    expect(await loadAll(tier, keys)).toEqual([true, true, true])
    const counts = { numSavedBlocks: 0, numDroppedBlocks: 0, numLoadedBlocks: 3, numBadFiles: 0 }
    expect(tier.stats).toEqual({ ...counts, bytes: 3 * FILE_BYTES, isPaused: false })
  })

  it('are found by nobody else: another tenant, domain, text or configuration', async () => {
    await written()
    const tier = await stage.open()
    const others = [
      chain(tier, 1, { tenant: 'bob' }),
      chain(tier, 1, { domain: Int32Array.of(1, 2, 3, 5) }),
      chain(tier, 1, { text: 1 }),
      chain(await stage.open({ configuration: configurationFolder({ model: 'n' }) }), 1),
    ]
    expect(others.map(([key]) => tier.has(key!))).toEqual([false, false, false, false])
    const second = chain(tier, 2)[1]!
    expect(tier.has(second)).toBe(true)
    // The same tokens behind another beginning.
    const elsewhere = tier.child(chain(tier, 1, { text: 1 })[0]!, Int32Array.of(4, 5, 6, 7), 0, 4)
    expect(tier.has(elsewhere)).toBe(false)
  })

  it('are readable by their owner alone', async () => {
    const { paths } = await written()
    expect(statSync(paths[0]).mode & 0o777).toBe(0o600)
    expect(statSync(dirname(paths[0])).mode & 0o777).toBe(0o700)
  })

  it.each<[string, (paths: [string, string, string]) => void]>([
    ['torn', (paths) => truncateSync(paths[1], FILE_BYTES - 1)],
    ['empty', (paths) => truncateSync(paths[1], 0)],
    ['another block’s', (paths) => copyFileSync(paths[0], paths[1])],
    [
      'changed by one bit',
      (paths) => {
        const bytes = readFileSync(paths[1])
        bytes[FILE_BYTES - 1]! ^= 1
        writeFileSync(paths[1], bytes)
      },
    ],
    [
      'changed in its header',
      (paths) => {
        const bytes = readFileSync(paths[1])
        bytes[40]! ^= 1
        writeFileSync(paths[1], bytes)
      },
    ],
  ])('whose file is %s are not used, and the file is removed', async (_, spoil) => {
    const { paths } = await written()
    spoil(paths)
    const tier = await stage.open()
    const keys = chain(tier, 3)
    expect(await loadAll(tier, keys)).toEqual([true])
    expect(tier.stats.numBadFiles).toBe(1)
    expect([existsSync(paths[1]), tier.has(keys[1]!)]).toEqual([false, false])
  })

  it('whose file was deleted by hand are simply not there', async () => {
    await written()
    const tier = await stage.open()
    const keys = chain(tier, 3)
    stage.remove()
    expect(await loadAll(tier, keys)).toEqual([])
    expect([tier.has(keys[0]!), tier.stats.numBadFiles]).toEqual([false, 0])
  })

  it('being written by a process that was killed are removed, others’ are not', async () => {
    const { paths } = await written()
    const part = (pid: number) => `${paths[0]}.${pid}-0123abcd.part`
    // No process has this number; of this process’s number was one that has ended, as in a container.
    const dead = part(2 ** 22 + 1)
    const former = part(process.pid)
    const old = part(1)
    const alive = part(process.ppid)
    for (const path of [dead, former, old, alive]) writeFileSync(path, 'half')
    utimesSync(old, 1, 1)
    await stage.open()
    expect([dead, former, old, alive].map(existsSync)).toEqual([false, false, false, true])
  })
})

describe('the size on disk', () => {
  it('never exceeds its limit, and what was not used for longest goes first', async () => {
    const limitBytes = 3 * FILE_BYTES + 10
    const tier = await stage.open({ limitBytes })
    for (let text = 0; text < 8; text++) {
      const keys = chain(tier, 1, { text })
      saveAll(tier, keys)
      await tier.hasRoom()
      while (!tier.has(keys[0]!)) await new Promise((resolve) => setImmediate(resolve))
      expect(stage.files().length).toBeLessThanOrEqual(3)
      // The first text is used all the time.
      expect(await loadAll(tier, chain(tier, 1, { text: 0 }))).toEqual([true])
      stage.clock.advance(1000)
    }
    await tier.close()
    const known = [0, 1, 2, 3, 4, 5, 6, 7].filter((text) => tier.has(chain(tier, 1, { text })[0]!))
    expect(known).toEqual([0, 6, 7])
    expect(stage.files().map(({ bytes }) => bytes)).toEqual([FILE_BYTES, FILE_BYTES, FILE_BYTES])
  })

  it('is lowered at a start, by use before it, over all configurations', async () => {
    const tier = await stage.open()
    for (let text = 0; text < 4; text++) {
      saveAll(tier, chain(tier, 1, { text }))
      await tier.hasRoom()
    }
    await tier.close()
    const again = await stage.open()
    stage.clock.advance(60_000 * 60 * 24 * 365)
    expect(await loadAll(again, chain(again, 1, { text: 1 }))).toEqual([true])
    await new Promise((resolve) => setTimeout(resolve, 50))
    const configuration = configurationFolder({ model: 'another' })
    const other = await stage.open({ configuration, limitBytes: FILE_BYTES })
    expect(other.stats.bytes).toBe(FILE_BYTES)
    expect(stage.files().map(({ path }) => path)).toEqual([
      nameOf(chain(again, 1, { text: 1 })[0]!).path,
    ])
  })

  it('below one block turns the cache off, with a word', async () => {
    const tier = await stage.open({ limitBytes: FILE_BYTES - 1 })
    expect(saveAll(tier, chain(tier, 2))).toBe(0)
    expect(stage.warnings).toEqual([
      `disk cache of KV: off, a block takes ${FILE_BYTES} bytes on disk, --kv-disk-cache ${FILE_BYTES - 1}`,
    ])
  })
})

describe('a disk that fails', () => {
  function failing(change: Partial<KvFiles>): KvFiles {
    return { ...openKvFiles(stage.folder), ...change }
  }
  const full = async () => {
    throw new Error('ENOSPC: no space left on device')
  }

  it('pauses writing for a while, says so once, and fails nobody', async () => {
    let isFull = true
    const files = openKvFiles(stage.folder)
    const write: KvFiles['write'] = (...record) => (isFull ? full() : files.write(...record))
    const tier = await stage.open({ files: failing({ write }) })
    saveAll(tier, chain(tier, 3))
    await tier.hasRoom()
    while (!tier.stats.isPaused) await new Promise((resolve) => setImmediate(resolve))
    expect(saveAll(tier, chain(tier, 2, { text: 1 }))).toBe(0)
    stage.clock.advance(29_000)
    expect(saveAll(tier, chain(tier, 1, { text: 1 }))).toBe(0)
    isFull = false
    stage.clock.advance(1_001)
    const keys = chain(tier, 2, { text: 2 })
    expect(saveAll(tier, keys)).toBe(2)
    await tier.close()
    expect(await loadAll(tier, keys)).toEqual([true, true])
    expect(tier.stats).toMatchObject({ numSavedBlocks: 2, numDroppedBlocks: 6, isPaused: false })
    expect(stage.warnings).toEqual([
      'disk cache of KV: writing failed (ENOSPC: no space left on device); requests go on, and nothing is written for 30 s',
    ])
  })

  it('keeps some room for everything else', async () => {
    const tier = await stage.open({ files: failing({ freeBytes: async () => 255 * 2 ** 20 }) })
    expect(saveAll(tier, chain(tier, 1))).toBe(0)
    expect(stage.warnings[0]).toContain('bytes are free on the disk')
  })

  it('that cannot be read is an empty cache', async () => {
    await written()
    const tier = await stage.open({ files: failing({ read: full }) })
    expect(await loadAll(tier, chain(tier, 3))).toEqual([])
    const unlisted = await stage.open({ files: failing({ list: full }) })
    expect([unlisted.stats.isPaused, unlisted.stats.bytes]).toEqual([true, 0])
  })

  it('in whose place there is a file is paused', async () => {
    writeFileSync(join(stage.folder, 'file'), '')
    const tier = await stage.open({ files: openKvFiles(join(stage.folder, 'file')) })
    expect(tier.stats.isPaused).toBe(true)
    chmodSync(stage.folder, 0o700)
  })

  it('that hangs holds up nobody: what does not come in time is computed', async () => {
    await written()
    const hanging = new Promise<number>(() => {})
    const tier = await stage.open({ files: failing({ read: () => hanging }), patienceMs: 20 })
    const keys = chain(tier, 3)
    expect(await loadAll(tier, keys)).toEqual([])
    expect(tier.has(keys[0]!)).toBe(false)
    stage.clock.advance(30_000)
    expect(tier.has(keys[0]!)).toBe(true)
    expect(stage.warnings).toEqual([
      'disk cache of KV: the disk does not answer; requests go on, and nothing is read for 30 s',
    ])
  })

  it('that is slow makes blocks wait in memory, at most 64 MiB of them', async () => {
    let letGo: () => void = () => {}
    const write = () => new Promise<void>((resolve) => (letGo = resolve))
    const files = { ...failing({ write }), generationOf: async () => ' ' }
    const blockBytes = 20 * 2 ** 20
    const tier = await stage.open({ files, blockBytes, limitBytes: 2 ** 30 })
    expect(saveAll(tier, chain(tier, 5))).toBe(3)
    expect(tier.stats.numDroppedBlocks).toBe(2)
    const closed = tier.close()
    const timer = setInterval(() => letGo(), 5)
    await closed
    clearInterval(timer)
    expect(tier.stats.numSavedBlocks).toBe(3)
  })
})

describe('a tenant’s data', () => {
  it('is deleted whole, and nobody else’s', async () => {
    await written()
    const tier = await stage.open()
    const bobs = chain(tier, 2, { tenant: 'bob' })
    saveAll(tier, bobs)
    await tier.close()
    expect(await kvDiskUsage(stage.folder)).toEqual({ numFiles: 5, bytes: 5 * FILE_BYTES })
    expect(await forgetTenant(stage.folder, 'alice')).toEqual({
      numFiles: 3,
      bytes: 3 * FILE_BYTES,
    })
    const after = await stage.open()
    expect(await loadAll(after, chain(after, 3))).toEqual([])
    expect(await loadAll(after, chain(after, 2, { tenant: 'bob' }))).toEqual([true, true])
    expect(await forgetTenant(stage.folder, 'nobody')).toEqual({ numFiles: 0, bytes: 0 })
  })

  it('that was computed before is not written afterwards by an engine that runs, and new data is', async () => {
    const tier = await stage.open()
    const before = chain(tier, 3)
    saveAll(tier, before.slice(0, 1))
    await tier.hasRoom()
    while (!tier.has(before[0]!)) await new Promise((resolve) => setImmediate(resolve))
    await forgetTenant(stage.folder, 'alice')
    saveAll(tier, before.slice(1, 2))
    while (tier.stats.numDroppedBlocks === 0) await new Promise((resolve) => setImmediate(resolve))
    // It knows now: nothing of that time is even copied.
    expect([saveAll(tier, before.slice(2)), tier.has(before[0]!)]).toEqual([0, false])
    const after = chain(tier, 2)
    saveAll(tier, after)
    await tier.close()
    expect(await loadAll(tier, after)).toEqual([true, true])
    expect(await kvDiskUsage(stage.folder)).toEqual({ numFiles: 2, bytes: 2 * FILE_BYTES })
  })

  it('is deleted with everybody’s, also what an engine that runs has not written yet', async () => {
    const tier = await stage.open()
    const [alice, bob] = [chain(tier, 2), chain(tier, 1, { tenant: 'bob' })]
    saveAll(tier, alice.slice(0, 1))
    await tier.hasRoom()
    while (!tier.has(alice[0]!)) await new Promise((resolve) => setImmediate(resolve))
    expect(await forgetEverybody(stage.folder)).toEqual({ numFiles: 1, bytes: FILE_BYTES })
    saveAll(tier, alice.slice(1))
    saveAll(tier, bob)
    while (tier.stats.numDroppedBlocks < 2) await new Promise((resolve) => setImmediate(resolve))
    expect(await kvDiskUsage(stage.folder)).toEqual({ numFiles: 0, bytes: 0 })
    const later = chain(tier, 1, { tenant: 'bob' })
    saveAll(tier, later)
    await tier.close()
    const again = await stage.open()
    expect(await loadAll(again, chain(again, 1, { tenant: 'bob' }))).toEqual([true])
    expect(saveAll(again, chain(again, 1, { tenant: 'carol' }))).toBe(1)
    await again.close()
    expect(again.stats.numSavedBlocks).toBe(1)
  })

  it('whose file appears while it is being deleted is removed by the engine that wrote it', async () => {
    const files = openKvFiles(stage.folder)
    const write: KvFiles['write'] = async (...record) => {
      await forgetTenant(stage.folder, 'alice')
      await files.write(...record)
    }
    const tier = await stage.open({ files: { ...files, write } })
    saveAll(tier, chain(tier, 1))
    await tier.close()
    expect(await kvDiskUsage(stage.folder)).toEqual({ numFiles: 0, bytes: 0 })
    expect(tier.stats).toMatchObject({ numSavedBlocks: 0, numDroppedBlocks: 1, bytes: 0 })
  })
})

it('a folder that holds other things is left alone', async () => {
  mkdirSync(join(stage.folder, 'notes'))
  writeFileSync(join(stage.folder, 'notes', 'a.kv'), 'mine')
  const tier = await stage.open({ limitBytes: FILE_BYTES })
  saveAll(tier, chain(tier, 2))
  await tier.close()
  expect(stage.files().filter(({ path }) => path.startsWith('notes'))).toEqual([
    { path: 'notes/a.kv', bytes: 4 },
  ])
})
