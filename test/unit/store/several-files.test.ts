/** Models that come in several files: parts that are joined into one, and parts that stay parts. */

import { randomBytes } from 'node:crypto'
import { mkdir, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { ModelStore } from '../../../src/store/model-store.ts'
import { parseSource, sourceText } from '../../../src/store/source.ts'
import { caught } from '../../support/caught.ts'
import { serveHub } from '../../support/fake-hub.ts'
import { serveProject } from '../../support/fake-index.ts'
import { FakeWeb, sha256 } from '../../support/fake-web.ts'
import { makeStore, namesIn, reference } from '../../support/test-store.ts'
import { encodeZip } from '../../support/zip-writer.ts'

const PARTS = [randomBytes(300_000), randomBytes(200_000), Buffer.from('end')]
const WHOLE = Buffer.concat(PARTS)
const JOINED = [0, 1, 2].map((part) => `pypi:tiny-part${part}==1.0/tiny/m.part${part}`).join(' + ')

let web: FakeWeb
let storage: FakeWeb
let stores: ModelStore[]

beforeEach(async () => {
  web = await FakeWeb.start()
  storage = await FakeWeb.start()
  stores = []
})
afterEach(async () => {
  await web.stop()
  await storage.stop()
  for (const store of stores) {
    await store.close()
    await rm(store.root, { recursive: true })
  }
})

async function makeOne(options: Parameters<typeof makeStore>[0]): Promise<ModelStore> {
  const store = await makeStore(options)
  stores.push(store)
  return store
}

function serveWheels(parts: readonly Buffer[] = PARTS): Promise<ModelStore> {
  let indexUrl = ''
  for (const [part, bytes] of parts.entries()) {
    const wheel = encodeZip({ [`tiny/m.part${part}`]: bytes })
    const filename = `tiny_part${part}-1.0-py3-none-any.whl`
    indexUrl = serveProject(web, `tiny-part${part}`, [{ filename, bytes: wheel }])
  }
  return makeOne({ indexUrl })
}

// Durable writes take seconds each on a busy disk.
vi.setConfig({ testTimeout: 60_000 })

describe('a joined source', () => {
  it('has one spelling, and no paths in it', () => {
    const source = parseSource('PyPI:A.B/x.part0 + hf:o/n/y', '/')
    expect(sourceText(source)).toBe('pypi:a-b/x.part0 + hf:o/n@main/y')
    expect(parseSource(sourceText(source), '/')).toEqual(source)
    expect(() => parseSource('pypi:a/x + file:/y', '/')).toThrow(/a path is a whole file/)
    expect(parseSource('file:/a + b', '/').kind).toBe('file')
  })

  it('becomes one file with the digest of the whole, and leaves nothing else behind', async () => {
    const store = await serveWheels()
    const stages: string[] = []
    const onProgress = (stage: string) => stages.at(-1) !== stage && stages.push(stage)
    const model = await store.fetch(reference(JOINED, sha256(WHOLE)), { onProgress })
    expect(await readFile(model.path)).toEqual(WHOLE)
    expect(model).toMatchObject({
      digest: sha256(WHOLE),
      sizeBytes: WHOLE.length,
      source: JOINED,
      revision: '1.0 + 1.0 + 1.0',
    })
    expect(stages).toEqual(['resolve', 'download', 'extract'])
    expect(await namesIn(store, 'partial')).toEqual([])
    await web.stop()
    expect(await store.fetch(reference(JOINED, sha256(WHOLE)))).toEqual(model)
  })

  it('does not load again the parts that an interrupted fetch had', async () => {
    const store = await serveWheels()
    const stop = new AbortController()
    const onProgress = (stage: string) => stage === 'extract' && stop.abort(new Error('enough'))
    const first = store.fetch(reference(JOINED), { onProgress, signal: stop.signal })
    await expect(first).rejects.toThrow('enough')
    const before = web.requests.filter(({ path }) => path.startsWith('/files/')).length
    const model = await store.fetch(reference(JOINED))
    expect(model.digest).toBe(sha256(WHOLE))
    expect(web.requests.filter(({ path }) => path.startsWith('/files/'))).toHaveLength(before)
  })

  it('is refused when the whole is not what was pinned, though each part is', async () => {
    const store = await serveWheels([PARTS[1]!, PARTS[0]!, PARTS[2]!])
    const error = await caught(store.fetch(reference(JOINED, sha256(WHOLE))))
    expect(error.code).toBe('STORE_DIGEST_MISMATCH')
    expect(await namesIn(store, 'partial')).toEqual([])
    expect(await namesIn(store, 'blobs/sha256')).toEqual([])
  })

  it('says which part is not there', async () => {
    const store = await serveWheels(PARTS.slice(0, 2))
    const error = await caught(store.fetch(reference(JOINED)))
    expect(error.code).toBe('STORE_NOT_IN_INDEX')
    expect(String(error)).toContain('tiny-part2')
  })
})

describe('a split model on a hub', () => {
  const NAMES = [1, 2, 3].map((part) => `m-0000${part}-of-00003.gguf`)
  const COMMIT = 'a'.repeat(40)

  async function hub(files: Readonly<Record<string, Buffer>>): Promise<ModelStore> {
    serveHub(web, storage, { name: 'o/n', revisions: new Map([['main', COMMIT]]), files })
    return makeOne({ hub: { endpoint: web.origin } })
  }
  const allFiles = Object.fromEntries(NAMES.map((name, part) => [`sub/${name}`, PARTS[part]!]))

  it.each([0, 2])(
    'is fetched whole by its part %i, under the names that it knows',
    async (part) => {
      const store = await hub(allFiles)
      const model = await store.fetch(reference(`hf:o/n/sub/${NAMES[part]}`))
      expect(basename(model.path)).toBe(NAMES[0])
      const files = NAMES.map((name) => join(dirname(model.path), name))
      expect(await Promise.all(files.map((file) => readFile(file)))).toEqual(PARTS)
      expect(await realpath(model.path)).toBe(
        await realpath(join(store.root, 'blobs/sha256', sha256(PARTS[0]!))),
      )
      const lines = NAMES.map((name, i) => `${name}\0${PARTS[i]!.length}\0${sha256(PARTS[i]!)}\n`)
      expect(model).toMatchObject({
        digest: sha256(Buffer.from(lines.join(''))),
        sizeBytes: WHOLE.length,
        revision: COMMIT,
      })
      await store.verify(model)
      await web.stop()
      expect(await store.fetch(reference(`hf:o/n/sub/${NAMES[part]}`))).toEqual(model)
      expect(await store.list()).toEqual([model])
    },
  )

  it('has the digest that the same files have in a folder', async () => {
    const store = await hub(allFiles)
    const fetched = await store.fetch(reference(`hf:o/n/sub/${NAMES[0]}`))
    const folder = join(store.root, 'elsewhere')
    await mkdir(folder)
    for (const [i, name] of NAMES.entries()) await writeFile(join(folder, name), PARTS[i]!)
    const local = await store.fetch(reference(join(folder, NAMES[1]!)))
    expect([local.digest, local.sizeBytes]).toEqual([fetched.digest, fetched.sizeBytes])
    expect((await store.fetch(reference(`${folder}/`))).digest).toBe(fetched.digest)
    await rm(join(folder, NAMES[2]!))
    const error = await caught(store.fetch(reference(join(folder, NAMES[0]!))))
    expect(error.code).toBe('STORE_FILE_NOT_FOUND')
    expect(String(error)).toContain(NAMES[2])
  })

  it('is refused when a part is not there, and nothing is published', async () => {
    const { [`sub/${NAMES[1]}`]: _, ...rest } = allFiles
    const store = await hub(rest)
    const error = await caught(store.fetch(reference(`hf:o/n/sub/${NAMES[0]}`)))
    expect(error.code).toBe('STORE_HUB_NOT_FOUND')
    expect(String(error)).toContain(NAMES[1])
    expect(await namesIn(store, 'blobs/sha256')).toEqual([])
  })

  it('is fetched anew when one of its parts went bad on the disk', async () => {
    const store = await hub(allFiles)
    const source = reference(`hf:o/n/sub/${NAMES[0]}`)
    const model = await store.fetch(source)
    const blob = join(store.root, 'blobs/sha256', sha256(PARTS[1]!))
    await rm(blob)
    await writeFile(blob, Buffer.alloc(PARTS[1]!.length))
    expect(await store.fetch(source)).toEqual(model)
    expect(await readFile(join(dirname(model.path), NAMES[1]!))).toEqual(PARTS[1])
  })
})

describe('a folder with chat templates of its own', () => {
  it('has another digest when one of them changes', async () => {
    const store = await makeOne({})
    const folder = join(store.root, 'folder')
    const template = join(folder, 'additional_chat_templates', 'tool_use.jinja')
    await mkdir(dirname(template), { recursive: true })
    await writeFile(join(folder, 'config.json'), '{}')
    await writeFile(template, 'A')
    const before = await store.fetch(reference(folder))
    await writeFile(template, 'BB')
    expect((await store.fetch(reference(folder))).digest).not.toBe(before.digest)
  })
})
