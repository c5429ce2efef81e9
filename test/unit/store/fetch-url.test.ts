import { randomBytes } from 'node:crypto'
import { mkdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ModelStore } from '../../../src/store/model-store.ts'
import { StoreFolder } from '../../../src/store/store-folder.ts'
import { caught } from '../../support/caught.ts'
import { FakeWeb, sha256 } from '../../support/fake-web.ts'
import { makeStore, namesIn, reference } from '../../support/test-store.ts'

const bytes = randomBytes(3_000_000)
const digest = sha256(bytes)

let web: FakeWeb
let store: ModelStore
let url: string

beforeEach(async () => {
  web = await FakeWeb.start()
  store = await makeStore()
  url = web.serve('/m.gguf', bytes)
})
afterEach(async () => {
  await store.close()
  await web.stop()
  await rm(store.root, { recursive: true })
})

describe('a fetched URL', () => {
  it('lands read-only under its digest, with progress, and leaves nothing partial', async () => {
    const progress: [string, number, number | null][] = []
    const model = await store.fetch(reference(url), {
      onProgress: (...step) => progress.push(step),
    })
    expect(model).toMatchObject({ digest, sizeBytes: bytes.length, source: url })
    expect(model.path).toBe(`${store.root}/blobs/sha256/${digest}`)
    expect(sha256(await readFile(model.path))).toBe(digest)
    expect((await stat(model.path)).mode & 0o222).toBe(0)
    expect(progress.at(-1)).toEqual(['download', bytes.length, bytes.length])
    expect(await namesIn(store, 'partial')).toEqual([])
    expect(await namesIn(store, 'locks')).toEqual([])
  })

  it('is not asked for again', async () => {
    const first = await store.fetch(reference(url))
    expect(await store.fetch(reference(url))).toEqual(first)
    expect(web.requests).toHaveLength(1)
    await store.fetch(reference(url), { refresh: true })
    expect(web.requests).toHaveLength(2)
  })

  it('is refused when its digest differs, and removed', async () => {
    const error = await caught(store.fetch(reference(url, '0'.repeat(64))))
    expect(error.code).toBe('STORE_DIGEST_MISMATCH')
    expect(error.message).toContain(`expected sha256 ${'0'.repeat(64)}, got ${digest}`)
    expect(await namesIn(store, 'partial')).toEqual([])
    expect(await namesIn(store, 'blobs/sha256')).toEqual([])
  })

  it('goes on where the connection was cut', async () => {
    web.fail('/m.gguf', { kind: 'cut', afterBytes: 1_000_000 }, { kind: 'reset' })
    const model = await store.fetch(reference(url))
    expect(model.digest).toBe(digest)
    const [, , last] = web.requests
    expect(last?.headers.range).toMatch(/^bytes=[1-9]\d*-$/)
    expect(last?.headers['if-range']).toMatch(/^"/)
  })

  it('starts over when the server ignores the range', async () => {
    web.fail('/m.gguf', { kind: 'cut', afterBytes: 1_000_000 }, { kind: 'no-range' })
    expect((await store.fetch(reference(url))).digest).toBe(digest)
  })

  it('starts over when the file is another one by now', async () => {
    web.fail('/m.gguf', { kind: 'cut', afterBytes: 1_000_000 })
    const other = randomBytes(2_000_000)
    const onProgress = () => web.serve('/m.gguf', other)
    expect((await store.fetch(reference(url), { onProgress })).digest).toBe(sha256(other))
  })

  it('starts over without an ETag, because nothing says that the halves belong together', async () => {
    web.serve('/m.gguf', { bytes, etag: null })
    web.fail('/m.gguf', { kind: 'cut', afterBytes: 1_000_000 })
    expect((await store.fetch(reference(url))).digest).toBe(digest)
    expect(web.requests.every(({ headers }) => headers.range === undefined)).toBe(true)
  })

  it('survives 500, 503 and a closed connection', async () => {
    web.fail(
      '/m.gguf',
      { kind: 'status', status: 500 },
      { kind: 'status', status: 503, headers: { 'retry-after': '0' } },
    )
    expect((await store.fetch(reference(url))).digest).toBe(digest)
    expect(web.requests).toHaveLength(3)
  })

  it('gives up after as many attempts as it may make, saying so', async () => {
    web.fail(
      '/m.gguf',
      ...Array.from({ length: 9 }, () => ({ kind: 'status', status: 502 }) as const),
    )
    const refused = await caught(store.fetch(reference(url)))
    expect(refused.code).toBe('STORE_HTTP_STATUS')
    expect(refused.message).toContain('502 after 3 attempts')
    web.fail('/m.gguf', ...Array.from({ length: 9 }, () => ({ kind: 'reset' }) as const))
    const silent = await caught(store.fetch(reference(url)))
    expect(silent.code).toBe('STORE_NETWORK')
    expect(silent.retryable).toBe(true)
  })

  it('is incomplete when every connection is cut, and goes on in the next fetch', async () => {
    web.fail(
      '/m.gguf',
      ...Array.from({ length: 3 }, () => ({ kind: 'cut', afterBytes: 900_000 }) as const),
    )
    const error = await caught(store.fetch(reference(url)))
    expect(error.code).toBe('STORE_DOWNLOAD_INCOMPLETE')
    expect(error.retryable).toBe(true)
    const had = Number(error.details.got)
    expect(had).toBeGreaterThan(0)
    expect((await store.fetch(reference(url))).digest).toBe(digest)
    expect(web.requests.at(-1)?.headers.range).toBe(`bytes=${had}-`)
  })

  it('does not try again what will not change', async () => {
    const error = await caught(store.fetch(reference(`${web.origin}/none`)))
    expect(error.message).toContain('404 after 1 attempts; check the address')
    expect(web.requests).toHaveLength(1)
  })

  it('follows redirects, not in circles and not into the open', async () => {
    web.fail('/m.gguf', { kind: 'redirect', location: '/n.gguf' })
    web.serve('/n.gguf', bytes)
    expect((await store.fetch(reference(url))).digest).toBe(digest)
    web.fail(
      '/loop',
      ...Array.from({ length: 20 }, () => ({ kind: 'redirect', location: '/loop' }) as const),
    )
    const loop = await caught(store.fetch(reference(`${web.origin}/loop`)))
    expect(loop.code).toBe('STORE_TOO_MANY_REDIRECTS')
    web.fail('/out', { kind: 'redirect', location: 'http://example.org/m.gguf' })
    const out = await caught(store.fetch(reference(`${web.origin}/out`)))
    expect(out.code).toBe('STORE_INSECURE_URL')
  })

  it('is refused when its end could not be told from a cut', async () => {
    web.handler = (_, response) => {
      response.socket?.end('HTTP/1.0 200 OK\r\n\r\nhalf a model')
      return true
    }
    const error = await caught(store.fetch(reference(url)))
    expect(error.code).toBe('STORE_BAD_RESPONSE')
    expect(error.message).toContain('a content-length')
  })

  it('may come in chunks, and may be empty', async () => {
    web.serve('/m.gguf', { bytes, chunked: true })
    expect((await store.fetch(reference(url))).digest).toBe(digest)
    const empty = web.serve('/empty', Buffer.alloc(0))
    expect((await store.fetch(reference(empty))).sizeBytes).toBe(0)
  })

  it('ends at once when its signal is aborted, and goes on later', async () => {
    web.fail('/m.gguf', { kind: 'stall', afterBytes: 500_000 })
    const controller = new AbortController()
    const reason = new Error('enough')
    const onProgress = (_: string, done: number) => done >= 500_000 && controller.abort(reason)
    const fetching = store.fetch(reference(url), { signal: controller.signal, onProgress })
    await expect(fetching).rejects.toBe(reason)
    expect((await store.fetch(reference(url))).digest).toBe(digest)
    expect(web.requests.at(-1)?.headers.range).toBe('bytes=500000-')
  })

  it('is fetched anew when the beginning on disk has gone bad', async () => {
    web.fail(
      '/m.gguf',
      ...Array.from({ length: 3 }, () => ({ kind: 'cut', afterBytes: 900_000 }) as const),
    )
    await caught(store.fetch(reference(url, digest)))
    const part = new StoreFolder(store.root).partialPath(url)
    const damaged = await readFile(part)
    damaged[5] = (damaged[5] as number) ^ 1
    await writeFile(part, damaged)
    expect((await store.fetch(reference(url, digest))).digest).toBe(digest)
  })

  it.each([
    ['kept when it can be gone on with', '"v1"', 2],
    ['removed when it cannot', null, 0],
  ])('says so when the disk is full, and the partial file is %s', async (_, etag, numLeft) => {
    // /dev/full takes no byte; as a symbolic link it stands where the partial file goes.
    const part = new StoreFolder(store.root).partialPath(url)
    await mkdir(dirname(part), { recursive: true })
    await symlink('/dev/full', part)
    web.serve('/m.gguf', { bytes, etag })
    const error = await caught(store.fetch(reference(url)))
    expect(error.code).toBe('STORE_DISK_FULL')
    expect(error.details).toMatchObject({ needed: bytes.length, free: 'too few (ENOSPC)' })
    expect(await namesIn(store, 'partial')).toHaveLength(numLeft)
    expect(await namesIn(store, 'locks')).toEqual([])
  })
})
