import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { EXIT } from '../../../src/cli/errors.ts'
import { runProgram } from '../../../src/cli/program.ts'
import { openKvFiles } from '../../../src/execution/kv-disk/kv-files.ts'
import { chain, DiskTierStage, FILE_BYTES, saveAll } from '../../support/disk-tier-stage.ts'

let stage: DiskTierStage
let home: string
beforeEach(async () => {
  stage = new DiskTierStage()
  home = join(stage.folder, 'home')
  mkdirSync(home)
  const tier = await stage.open({ files: openKvFiles(join(home, 'kv')) })
  saveAll(tier, chain(tier, 3))
  saveAll(tier, chain(tier, 1, { tenant: 'local' }))
  await tier.close()
})
afterEach(() => {
  stage.remove()
  vi.restoreAllMocks()
})

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const out = vi.spyOn(process.stdout, 'write').mockImplementation(() => true)
  const err = vi.spyOn(process.stderr, 'write').mockImplementation(() => true)
  const code = await runProgram(['cache', ...args, '--home', home])
  const text = ({ mock }: typeof out) => mock.calls.map(([chunk]) => String(chunk)).join('')
  const said = { code, out: text(out), err: text(err) }
  vi.restoreAllMocks()
  return said
}

const usage = async () => JSON.parse((await run('ls', '--json', '--kv-disk-cache', '1GiB')).out)

it('ingot cache ls says how much is kept, and where', async () => {
  const folder = join(home, 'kv')
  const expected = { folder, limitBytes: 2 ** 30, numFiles: 4, bytes: 4 * FILE_BYTES }
  expect(await usage()).toEqual(expected)
  expect((await run('ls')).out).toBe(`4 blocks, 4.28 KiB in ${folder} (--kv-disk-cache off)\n`)
})

it('ingot cache rm deletes what one caller has, then everything', async () => {
  expect((await run('rm', '--principal', 'alice')).out).toBe(
    'removed 3 blocks, 3.21 KiB of alice\n',
  )
  expect(await usage()).toMatchObject({ numFiles: 1 })
  expect((await run('rm', '--all')).out).toBe('removed 1 block, 1.07 KiB\n')
  expect(await usage()).toMatchObject({ numFiles: 0, bytes: 0 })
  expect((await run('rm', '--all')).out).toBe('removed 0 blocks, 0 B\n')
})

it.each([
  ['neither', []],
  ['both', ['--all', '--principal', 'alice']],
])('ingot cache rm refuses to guess whose is meant: %s', async (got, flags) => {
  const { code, err } = await run('rm', ...flags)
  expect(code).toBe(EXIT.failed)
  expect(err).toContain(`got ${got}; say whose keys and values are to be deleted`)
  expect(await usage()).toMatchObject({ numFiles: 4 })
})
