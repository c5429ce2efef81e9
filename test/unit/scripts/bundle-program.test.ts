import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { removeReplaced } from '../../../scripts/bundle-program.mjs'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ingot-bundle-'))
})
afterEach(() => rm(folder, { recursive: true }))

async function build(...names: string[]): Promise<void> {
  for (const name of names) await writeFile(join(folder, name), '')
  await removeReplaced(folder, new Set(names))
}

async function passHours(hours: number, ...names: string[]): Promise<void> {
  const time = Date.now() / 1000 - hours * 3600
  for (const name of names) await utimes(join(folder, name), time, time)
}

async function chunks(): Promise<string[]> {
  return (await readdir(folder)).filter((name) => name.endsWith('.js')).sort()
}

describe('chunks of earlier builds', () => {
  it('stay for a day after they were replaced, however long ago they were built', async () => {
    await build('main.js', 'a-1.js', 'b-1.js')
    await passHours(25, 'main.js', 'a-1.js', 'b-1.js')
    await build('main.js', 'a-2.js', 'b-1.js')
    expect(await chunks()).toEqual(['a-1.js', 'a-2.js', 'b-1.js', 'main.js'])
    await passHours(23, 'a-1.js')
    await build('main.js', 'a-3.js', 'b-1.js')
    expect(await chunks()).toEqual(['a-1.js', 'a-2.js', 'a-3.js', 'b-1.js', 'main.js'])
    await passHours(25, 'a-1.js')
    await passHours(23, 'a-2.js')
    await build('main.js', 'a-3.js', 'b-1.js')
    expect(await chunks()).toEqual(['a-2.js', 'a-3.js', 'b-1.js', 'main.js'])
  })

  it('stay also where the build before kept no list of its files', async () => {
    await writeFile(join(folder, 'a-1.js'), '')
    await passHours(25, 'a-1.js')
    await build('main.js', 'a-2.js')
    expect(await chunks()).toEqual(['a-1.js', 'a-2.js', 'main.js'])
  })
})
