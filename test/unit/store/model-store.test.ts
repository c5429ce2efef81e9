import { randomBytes } from 'node:crypto'
import {
  appendFile,
  chmod,
  mkdir,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { hostname } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ModelStore } from '../../../src/store/model-store.ts'
import { StoreFolder } from '../../../src/store/store-folder.ts'
import { caught } from '../../support/caught.ts'
import { FakeWeb, sha256 } from '../../support/fake-web.ts'
import { makeStore, namesIn, reference } from '../../support/test-store.ts'

const bytes = randomBytes(300_000)
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
  await rm(store.root, { recursive: true, force: true })
})

describe('the store', () => {
  it('lists and finds what was fetched, and nothing before', async () => {
    expect(await store.list()).toEqual([])
    expect(await store.find(reference(url))).toBeUndefined()
    const model = await store.fetch(reference(url))
    expect(await store.list()).toEqual([model])
    expect(await store.find(reference(url))).toEqual(model)
    expect(await store.find(reference(url, '0'.repeat(64)))).toBeUndefined()
  })

  it('finds pinned bytes that came from another source', async () => {
    await store.fetch(reference(url))
    const elsewhere = await store.find(reference('hf:a/b/c.gguf', digest))
    expect(elsewhere).toMatchObject({ digest, source: 'hf:a/b@main/c.gguf', revision: null })
  })

  it('tries again what could not be loaded for fetching, and can be closed after it', async () => {
    let numFailures = 2
    const http = {
      maxAttempts: 3,
      get retryDelayMs() {
        if (numFailures-- > 0) throw new Error('not there')
        return 1
      },
    }
    const failing = await makeStore({ root: store.root, http })
    await expect(failing.fetch(reference(url))).rejects.toThrow('not there')
    await failing.close()
    await expect(failing.fetch(reference(url))).rejects.toThrow('not there')
    expect(await failing.fetch(reference(url))).toMatchObject({ digest })
    await failing.close()
  })

  it('keeps one file of equal content from two sources', async () => {
    await store.fetch(reference(url))
    await store.fetch(reference(web.serve('/copy.gguf', bytes)))
    expect(await namesIn(store, 'blobs/sha256')).toEqual([digest])
    expect((await store.list()).map(({ source }) => source)).toHaveLength(2)
  })

  it('fetches anew what has another size by now', async () => {
    const { path } = await store.fetch(reference(url))
    await chmod(path, 0o644)
    await appendFile(path, 'x')
    expect(await store.list()).toEqual([])
    await store.fetch(reference(url))
    expect((await stat(path)).size).toBe(bytes.length)
  })

  it('verifies on demand, and removes what is damaged', async () => {
    const model = await store.fetch(reference(url))
    await store.verify(model)
    await chmod(model.path, 0o644)
    await writeFile(model.path, randomBytes(bytes.length))
    expect((await caught(store.verify(model))).code).toBe('STORE_DIGEST_MISMATCH')
    expect(await store.find(reference(url, digest))).toBeUndefined()
    expect((await store.fetch(reference(url, digest))).digest).toBe(digest)
  })

  it('fetches anew what was changed without a change of size, and hashes nothing that was not touched', async () => {
    const { path } = await store.fetch(reference(url, digest))
    const stages: string[] = []
    const onProgress = (stage: string) => stages.push(stage)
    await store.fetch(reference(url, digest), { onProgress })
    expect(stages).toEqual([])
    await chmod(path, 0o644)
    await store.fetch(reference(url, digest), { onProgress })
    expect(new Set(stages)).toEqual(new Set(['digest']))
    expect(web.requests).toHaveLength(1)
    await writeFile(path, randomBytes(bytes.length))
    expect((await store.fetch(reference(url, digest), { onProgress })).digest).toBe(digest)
    expect(sha256(await readFile(path))).toBe(digest)
    expect(web.requests).toHaveLength(2)
  })

  it('takes a broken ref for none', async () => {
    await store.fetch(reference(url))
    const [ref = ''] = await readdir(join(store.root, 'refs'))
    for (const text of ['', '{}', `{"source":"${url}","digest":"../../etc/passwd"}`]) {
      await writeFile(join(store.root, 'refs', ref), text)
      expect(await store.list()).toEqual([])
      expect(await store.find(reference(url))).toBeUndefined()
    }
  })

  it('says which folder it cannot write to', async () => {
    const blocked = await makeStore({ root: '/dev/null/ingot' })
    const error = await caught(blocked.fetch(reference(url)))
    expect(error.code).toBe('STORE_IO')
    expect(error.message).toContain('/dev/null/ingot/blobs')
    await blocked.close()
  })
})

describe('callers at the same time', () => {
  it('share one download and all hear of its progress', async () => {
    const heard = new Set<number>()
    const models = await Promise.all(
      [1, 2, 3].map((i) => store.fetch(reference(url), { onProgress: () => heard.add(i) })),
    )
    expect(new Set(models.map(({ path }) => path)).size).toBe(1)
    expect(heard.size).toBe(3)
    expect(web.requests).toHaveLength(1)
  })

  it('do not lose it when one of them leaves', async () => {
    web.fail('/m.gguf', { kind: 'stall', afterBytes: 1000 })
    const controller = new AbortController()
    const leaver = store.fetch(reference(url), { signal: controller.signal })
    const stayer = store.fetch(reference(url), {
      onProgress: () => controller.abort(new Error('left')),
    })
    await expect(leaver).rejects.toThrow('left')
    expect(web.requests).toHaveLength(1)
    await web.stop()
    expect((await caught(stayer)).code).toMatch(/STORE_NETWORK|STORE_DOWNLOAD_INCOMPLETE/)
    web = await FakeWeb.start()
  })

  it('are not harmed by a listener that throws', async () => {
    const broken = store.fetch(reference(url), {
      onProgress: () => {
        throw new Error('broken bar')
      },
    })
    const whole = store.fetch(reference(url))
    await expect(broken).rejects.toThrow('broken bar')
    expect((await whole).digest).toBe(digest)
  })

  it('of two stores on one folder download once', async () => {
    const second = await makeStore({ root: store.root })
    const stages: string[] = []
    const [a, b] = await Promise.all([
      store.fetch(reference(url)),
      second.fetch(reference(url), { onProgress: (stage) => stages.push(stage) }),
    ])
    expect(a).toEqual(b)
    expect(web.requests).toHaveLength(1)
    await second.close()
  })
})

describe('a lock', () => {
  async function leaveLock(holder: object, ageMs = 0): Promise<void> {
    const file = new StoreFolder(store.root).lockPath(url)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, JSON.stringify(holder))
    const time = new Date(Date.now() - ageMs)
    await utimes(file, time, time)
  }
  const alive = { pid: process.ppid, host: hostname(), nonce: 'x' }

  it.each([
    ['of a process that is gone', { ...alive, pid: 2 ** 22 + 1 }, 0],
    ['of an earlier process with our number', { ...alive, pid: process.pid }, 0],
    ['that nobody has touched for minutes', alive, 120_000],
    ['of another machine that nobody has touched', { ...alive, host: 'elsewhere' }, 120_000],
  ])('%s is broken', async (_, holder, ageMs) => {
    await leaveLock(holder, ageMs)
    expect((await store.fetch(reference(url))).digest).toBe(digest)
    expect(await namesIn(store, 'locks')).toEqual([])
  })

  it('of a process that lives is waited for, with an end', async () => {
    await leaveLock(alive)
    const impatient = await makeStore({ root: store.root, lockPatienceMs: 250 })
    const stages: string[] = []
    const onProgress = (stage: string) => stages.push(stage)
    const error = await caught(impatient.fetch(reference(url), { onProgress }))
    expect(error.code).toBe('STORE_LOCKED')
    expect(error.details.pid).toBe(process.ppid)
    expect(stages).toEqual(['wait'])
    expect(web.requests).toEqual([])
    await impatient.close()
  })
})

describe('a file that stays where it is', () => {
  it('is hashed once, and again when it changes', async () => {
    const path = join(store.root, 'mine.gguf')
    await writeFile(path, bytes)
    let numHashed = 0
    const onProgress = () => void numHashed++
    const model = await store.fetch(reference(path), { onProgress })
    expect(model).toEqual({
      path,
      digest,
      sizeBytes: bytes.length,
      source: `file:${path}`,
      revision: null,
    })
    expect(numHashed).toBe(1)
    expect(await store.fetch(reference(path), { onProgress })).toEqual(model)
    expect(await store.find(reference(path))).toEqual(model)
    expect(numHashed).toBe(1)
    await writeFile(path, randomBytes(bytes.length))
    expect((await store.fetch(reference(path), { onProgress })).digest).not.toBe(digest)
    expect(await store.list()).toEqual([])
  })

  it('is refused when it is not what is pinned, and left alone', async () => {
    const path = join(store.root, 'mine.gguf')
    await writeFile(path, bytes)
    const error = await caught(store.fetch(reference(path, '0'.repeat(64))))
    expect(error.code).toBe('STORE_DIGEST_MISMATCH')
    expect((await stat(path)).size).toBe(bytes.length)
  })

  it('can be served from a store that cannot be written to', async () => {
    const path = join(store.root, 'mine.gguf')
    await writeFile(path, bytes)
    const readOnly = await makeStore({ root: '/dev/null/ingot' })
    expect((await readOnly.fetch(reference(path))).digest).toBe(digest)
    await readOnly.close()
  })

  it('may be a folder: one digest over the files that can change an answer', async () => {
    const path = join(store.root, 'model')
    await mkdir(join(path, 'original'), { recursive: true })
    await writeFile(join(path, 'config.json'), '{}')
    await writeFile(join(path, 'model.safetensors'), bytes)
    const lines = [
      `config.json\0${2}\0${sha256(Buffer.from('{}'))}\n`,
      `model.safetensors\0${bytes.length}\0${sha256(bytes)}\n`,
    ]
    expect(await store.find(reference(path))).toBeUndefined()
    const seen: (number | null)[][] = []
    const onProgress = (_: string, done: number, total: number | null) => seen.push([done, total])
    const model = await store.fetch(reference(path), { onProgress })
    const sizeBytes = bytes.length + 2
    const expected = { path, sizeBytes, source: `file:${path}`, revision: null }
    expect(model).toEqual({ ...expected, digest: sha256(Buffer.from(lines.join(''))) })
    expect(seen.at(-1)).toEqual([sizeBytes, sizeBytes])
    expect(await store.find(reference(path))).toEqual(model)
    await store.verify(model)

    await writeFile(join(path, 'README.md'), 'a note')
    expect((await store.fetch(reference(path))).digest).toBe(model.digest)
    // A single file of it is served with the configuration beside it, so both count.
    const file = join(path, 'model.safetensors')
    expect((await store.fetch(reference(file))).digest).toBe(model.digest)
    await writeFile(join(path, 'chat_template.jinja'), 'Hello')
    expect(await store.find(reference(path))).toBeUndefined()
    expect((await store.fetch(reference(path))).digest).not.toBe(model.digest)
    expect((await caught(store.verify(model))).code).toBe('STORE_DIGEST_MISMATCH')
    await rm(file)
    await symlink('nowhere', file)
    expect((await caught(store.fetch(reference(path)))).message).toContain('got nothing')
  })

  it('is named when it is absent or no file', async () => {
    await mkdir(join(store.root, 'folder'), { recursive: true })
    for (const [name, got] of [
      ['none', 'got nothing'],
      ['folder', 'got a folder'],
    ] as const) {
      const error = await caught(store.fetch(reference(`file:${join(store.root, name)}`)))
      expect(error.code).toBe('STORE_FILE_NOT_FOUND')
      expect(error.message).toContain(got)
    }
  })
})
