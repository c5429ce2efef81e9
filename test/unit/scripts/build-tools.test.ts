import { spawnSync } from 'node:child_process'
import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { withLock } from '../../../scripts/lock.mjs'
import { sourceStamp } from '../../../scripts/source-stamp.mjs'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ingot-build-'))
})
afterEach(() => rm(folder, { recursive: true }))

/** A pid that was somebody's and is nobody's now. */
function deadPid(): number {
  return spawnSync(process.execPath, ['-e', '']).pid
}

describe('withLock', () => {
  it('lets one at a time in, tells who waits for whom, and leaves nothing behind', async () => {
    const path = join(folder, 'lock')
    const waits: number[] = []
    let numInside = 0
    const work = async (): Promise<void> => {
      numInside += 1
      expect(numInside).toBe(1)
      await new Promise((resolve) => setTimeout(resolve, 5))
      numInside -= 1
    }
    const onWait = (pid: number) => waits.push(pid)
    await Promise.all(Array.from({ length: 4 }, () => withLock(path, onWait, work)))
    expect(waits).toEqual([process.pid, process.pid, process.pid])
    expect(await readdir(folder)).toEqual([])
  })

  it('takes over the lock of a process that died, without waiting, and only once', async () => {
    const path = join(folder, 'lock')
    await writeFile(path, String(deadPid()))
    let numInside = 0
    let mostInside = 0
    const work = async (): Promise<void> => {
      numInside += 1
      mostInside = Math.max(mostInside, numInside)
      await new Promise((resolve) => setTimeout(resolve, 5))
      numInside -= 1
    }
    await Promise.all(Array.from({ length: 8 }, () => withLock(path, () => {}, work)))
    expect(mostInside).toBe(1)
    expect(await readdir(folder)).toEqual([])
  })

  it('gives the lock back when the work fails', async () => {
    const path = join(folder, 'lock')
    const failing = withLock(
      path,
      () => {},
      () => Promise.reject(new Error('no')),
    )
    await expect(failing).rejects.toThrow('no')
    expect(await readdir(folder)).toEqual([])
  })
})

describe('sourceStamp', () => {
  it('changes with size, time and name of a source, and with nothing else', async () => {
    const stamp = () => sourceStamp(folder, ['.'], /\.ts$/)
    await writeFile(join(folder, 'a.ts'), 'one')
    await utimes(join(folder, 'a.ts'), 1, 1)
    const first = stamp()
    await writeFile(join(folder, 'b.md'), 'text')
    expect(stamp()).toBe(first)
    await utimes(join(folder, 'a.ts'), 2, 2)
    const touched = stamp()
    expect(touched).not.toBe(first)
    await writeFile(join(folder, 'b.ts'), '')
    expect(stamp()).not.toBe(touched)
  })
})
