import { randomBytes } from 'node:crypto'
import { readFile, rm } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ModelStore } from '../../../src/store/model-store.ts'
import { caught } from '../../support/caught.ts'
import { type FakeRepository, serveHub } from '../../support/fake-hub.ts'
import { FakeWeb, sha256 } from '../../support/fake-web.ts'
import { makeStore, namesIn, reference } from '../../support/test-store.ts'

const weights = randomBytes(1_000_000)
const FIRST = '1'.repeat(40)
const SECOND = '2'.repeat(40)

let web: FakeWeb
let storage: FakeWeb
let store: ModelStore
let repository: FakeRepository

beforeEach(async () => {
  web = await FakeWeb.start()
  storage = await FakeWeb.start()
  repository = {
    name: 'owner/name',
    revisions: new Map([
      ['main', FIRST],
      ['refs/pr/1', SECOND],
    ]),
    files: { 'q/m.gguf': weights },
  }
  serveHub(web, storage, repository)
  store = await makeStore({ hub: { endpoint: web.origin } })
})
afterEach(async () => {
  await store.close()
  await web.stop()
  await storage.stop()
  await rm(store.root, { recursive: true })
})

describe('a file in a hub’s repository', () => {
  it('is pinned to the commit that its branch has, and checked against the digest that the hub states', async () => {
    const model = await store.fetch(reference('hf:owner/name/q/m.gguf'))
    expect(model).toMatchObject({
      digest: sha256(weights),
      revision: FIRST,
      source: 'hf:owner/name@main/q/m.gguf',
    })
    expect(sha256(await readFile(model.path))).toBe(sha256(weights))
    expect(web.requests.at(-1)?.path).toBe(`/owner/name/resolve/${FIRST}/q/m.gguf`)
    repository.revisions.set('main', SECOND)
    expect((await store.fetch(reference('hf:owner/name/q/m.gguf'))).revision).toBe(FIRST)
    const moved = await store.fetch(reference('hf:owner/name/q/m.gguf'), { refresh: true })
    expect(moved.revision).toBe(SECOND)
  })

  it('takes revisions with slashes, and commits as they are', async () => {
    expect((await store.fetch(reference('hf:owner/name@refs%2Fpr%2F1/q/m.gguf'))).revision).toBe(
      SECOND,
    )
    expect((await store.fetch(reference(`hf:owner/name@${FIRST}/q/m.gguf`))).revision).toBe(FIRST)
  })

  it('goes on where the connection was cut', async () => {
    storage.fail('/lfs/q/m.gguf', { kind: 'cut', afterBytes: 300_000 })
    expect((await store.fetch(reference('hf:owner/name/q/m.gguf'))).digest).toBe(sha256(weights))
    expect(storage.requests.at(-1)?.headers.range).toMatch(/^bytes=[1-9]/)
  })

  it('is refused when it is not what the hub stated', async () => {
    storage.serve('/lfs/q/m.gguf', randomBytes(weights.length))
    const error = await caught(store.fetch(reference('hf:owner/name/q/m.gguf')))
    expect(error.code).toBe('STORE_DIGEST_MISMATCH')
    expect(await namesIn(store, 'partial')).toEqual([])
  })

  it('is refused before a byte is fetched when the hub states another digest than the pinned one', async () => {
    const error = await caught(store.fetch(reference('hf:owner/name/q/m.gguf', '3'.repeat(64))))
    expect(error.code).toBe('STORE_DIGEST_MISMATCH')
    expect(error.message).toContain('by the hub')
    expect(storage.requests).toEqual([])
  })

  it('shows its token to the hub and to nobody else', async () => {
    serveHub(web, storage, { ...repository, token: 'hf_x' })
    const refused = await caught(store.fetch(reference('hf:owner/name/q/m.gguf')))
    expect(refused.code).toBe('STORE_HUB_REFUSED')
    expect(refused.message).toContain('HF_TOKEN')
    const trusted = await makeStore({ hub: { endpoint: web.origin, token: 'hf_x' } })
    await trusted.fetch(reference('hf:owner/name/q/m.gguf'))
    expect(storage.requests.map(({ headers }) => headers.authorization)).toEqual([undefined])
    await trusted.close()
    await rm(trusted.root, { recursive: true })
  })

  it.each([
    ['hf:owner/other/q/m.gguf', 'owner/other at revision main'],
    ['hf:owner/name@v9/q/m.gguf', 'owner/name at revision v9'],
    ['hf:owner/name/none.gguf', 'the file none.gguf'],
  ])('is not found as %s, saying what is missing', async (text, missing) => {
    const error = await caught(store.fetch(reference(text)))
    expect(error.code).toBe('STORE_HUB_NOT_FOUND')
    expect(error.message).toContain(missing)
  })

  it('survives a hub that stumbles', async () => {
    const path = '/api/models/owner/name/revision/main'
    web.fail(path, { kind: 'status', status: 503 }, { kind: 'reset' })
    expect((await store.fetch(reference('hf:owner/name/q/m.gguf'))).revision).toBe(FIRST)
    web.fail(path, ...Array.from({ length: 5 }, () => ({ kind: 'status', status: 500 }) as const))
    const error = await caught(store.fetch(reference('hf:owner/name/q/m.gguf'), { refresh: true }))
    expect(error.code).toBe('STORE_NETWORK')
  }, 10_000)
})
