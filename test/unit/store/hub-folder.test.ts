/** A whole model from a hub: which files are fetched of a repository, and that it is the model that a folder here would be. */

import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { ModelStore } from '../../../src/store/model-store.ts'
import { parseSource, sourceText } from '../../../src/store/source.ts'
import { caught } from '../../support/caught.ts'
import { type FakeRepository, serveHub } from '../../support/fake-hub.ts'
import { FakeWeb, sha256 } from '../../support/fake-web.ts'
import { makeStore, namesIn, reference } from '../../support/test-store.ts'

const COMMIT = '1'.repeat(40)

let web: FakeWeb
let storage: FakeWeb
let store: ModelStore
let repository: FakeRepository

beforeEach(async () => {
  web = await FakeWeb.start()
  storage = await FakeWeb.start()
  store = await makeStore({ hub: { endpoint: web.origin } })
})
afterEach(async () => {
  await store.close()
  await web.stop()
  await storage.stop()
  await rm(store.root, { recursive: true })
})

// Durable writes take seconds each on a busy disk.
vi.setConfig({ testTimeout: 60_000 })

/** Every file holds its own name. */
function serve(...names: readonly string[]): void {
  const files = Object.fromEntries(names.map((name) => [name, Buffer.from(name)]))
  repository = { name: 'owner/name', revisions: new Map([['main', COMMIT]]), files }
  serveHub(web, storage, repository)
}

async function filesOf(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .sort()
}

const SAFETENSORS = [
  'config.json',
  'generation_config.json',
  'model-00001-of-00002.safetensors',
  'model-00002-of-00002.safetensors',
  'model.safetensors.index.json',
  'tokenizer.json',
  'additional_chat_templates/tool_use.jinja',
]
const LEFT_OUT = ['README.md', '.gitattributes', 'consolidated.safetensors', 'pytorch_model.bin']
const DEEPER = ['original/params.json', 'onnx/model.onnx', 'onnx/model_q4.onnx']

describe('a repository', () => {
  it('has one spelling', () => {
    const source = parseSource('hf:owner/name', '/')
    expect(source).toEqual({ kind: 'hf', repository: 'owner/name', revision: 'main', file: null })
    expect(sourceText(source)).toBe('hf:owner/name@main')
    expect(parseSource('hf:owner/name@main/', '/')).toEqual(source)
  })

  it('of safetensors is fetched without what does not count, and named once more needs no network', async () => {
    serve(...SAFETENSORS, ...LEFT_OUT, ...DEEPER)
    const progress: (number | null)[] = []
    const model = await store.fetch(reference('hf:owner/name'), {
      onProgress: (stage, _, totalBytes) => stage === 'download' && progress.push(totalBytes),
    })
    expect(await filesOf(model.path)).toEqual([...SAFETENSORS].sort())
    expect(await readFile(join(model.path, 'tokenizer.json'), 'utf8')).toBe('tokenizer.json')
    expect(model).toMatchObject({ revision: COMMIT, source: 'hf:owner/name@main' })
    expect(new Set(progress)).toEqual(new Set([SAFETENSORS.join('').length]))
    await store.verify(model)
    await web.stop()
    expect(await store.fetch(reference('hf:owner/name'))).toEqual(model)
    expect(await store.list()).toEqual([model])
  })

  it('has the digest that the same files have in a folder here', async () => {
    serve(...SAFETENSORS, ...LEFT_OUT)
    const fetched = await store.fetch(reference('hf:owner/name'))
    const folder = join(store.root, 'elsewhere')
    for (const name of [...SAFETENSORS, 'README.md']) {
      await mkdir(dirname(join(folder, name)), { recursive: true })
      await writeFile(join(folder, name), name)
    }
    const here = await store.fetch(reference(`file:${folder}`))
    expect(here.digest).toBe(fetched.digest)
    expect(await store.fetch(reference('hf:owner/name', here.digest))).toEqual(fetched)
  })

  it('is fetched anew when one of its files went bad on the disk', async () => {
    serve(...SAFETENSORS)
    const model = await store.fetch(reference('hf:owner/name'))
    const blob = join(store.root, 'blobs/sha256', sha256(Buffer.from('tokenizer.json')))
    await rm(blob)
    await writeFile(blob, 'other bytes!!!')
    expect(await store.fetch(reference('hf:owner/name'))).toEqual(model)
    expect(await readFile(join(model.path, 'tokenizer.json'), 'utf8')).toBe('tokenizer.json')
  })

  it('is refused when it is not what was pinned', async () => {
    serve(...SAFETENSORS)
    const error = await caught(store.fetch(reference('hf:owner/name', '3'.repeat(64))))
    expect(error.code).toBe('STORE_DIGEST_MISMATCH')
    expect(await namesIn(store, 'refs')).toEqual([])
  })

  it.each([
    [['m-q4.gguf', 'README.md'], 'm-q4.gguf'],
    [['m-00001-of-00002.gguf', 'm-00002-of-00002.gguf'], 'm-00001-of-00002.gguf'],
    [['config.json', 'm.gguf', 'README.md'], 'm.gguf'],
  ])('of one GGUF model (%j) is that model', async (names, entry) => {
    serve(...names)
    const model = await store.fetch(reference('hf:owner/name'))
    expect(await readFile(model.path, 'utf8')).toBe(entry)
    expect(await filesOf(dirname(model.path))).toEqual(
      names.filter((name) => name.endsWith('.gguf')),
    )
  })

  it('of one exported graph is that graph with what lies beside it', async () => {
    serve('config.json', 'tokenizer.json', 'onnx/model.onnx', 'onnx/model.onnx_data', 'README.md')
    const model = await store.fetch(reference('hf:owner/name'))
    expect(await readFile(model.path, 'utf8')).toBe('onnx/model.onnx')
    expect(await filesOf(dirname(dirname(model.path)))).toEqual([
      'config.json',
      'onnx/model.onnx',
      'onnx/model.onnx_data',
      'tokenizer.json',
    ])
    await store.verify(model)
  })

  it('of several models is refused with their names', async () => {
    serve('a-Q4_0.gguf', 'a-Q8_0.gguf')
    const ggufs = await caught(store.fetch(reference('hf:owner/name')))
    expect(ggufs.code).toBe('STORE_HUB_CHOICE')
    expect(ggufs.message).toContain('a-Q4_0.gguf, a-Q8_0.gguf')
    expect(ggufs.message).toContain('hf:owner/name@main/a-Q4_0.gguf')
    serve('config.json', 'onnx/model.onnx', 'onnx/model_q4.onnx')
    const graphs = await caught(store.fetch(reference('hf:owner/name')))
    expect(graphs.message).toContain('onnx/model.onnx, onnx/model_q4.onnx')
  })

  it('without a model that can be served is refused', async () => {
    serve('config.json', 'pytorch_model.bin')
    expect((await caught(store.fetch(reference('hf:owner/name')))).code).toBe('STORE_HUB_NO_MODEL')
    expect((await caught(store.fetch(reference('hf:owner/none')))).code).toBe('STORE_HUB_NOT_FOUND')
  })

  it('whose names climb out of it brings none of those', async () => {
    serve(...SAFETENSORS, 'a\\b.json', '..json')
    const model = await store.fetch(reference('hf:owner/name'))
    expect(await filesOf(model.path)).toEqual(['..json', ...SAFETENSORS].sort())
  })
})

describe('a folder or a file that needs its folder', () => {
  it('is fetched as a model of its own', async () => {
    const inner = ['cpu/int4/genai_config.json', 'cpu/int4/model.onnx', 'cpu/int4/model.onnx.data']
    serve('README.md', 'config.json', ...inner, 'gpu/genai_config.json')
    const model = await store.fetch(reference('hf:owner/name/cpu/int4'))
    expect(await readFile(model.path, 'utf8')).toBe('cpu/int4/model.onnx')
    expect(await filesOf(dirname(model.path))).toEqual([
      'genai_config.json',
      'model.onnx',
      'model.onnx.data',
    ])
  })

  it('is fetched with its configuration when one of several graphs is named', async () => {
    serve('config.json', 'tokenizer.json', 'onnx/model.onnx', 'onnx/model_q4.onnx')
    const model = await store.fetch(reference('hf:owner/name/onnx/model_q4.onnx'))
    expect(await readFile(model.path, 'utf8')).toBe('onnx/model_q4.onnx')
    expect(await filesOf(dirname(dirname(model.path)))).toEqual([
      'config.json',
      'onnx/model_q4.onnx',
      'tokenizer.json',
    ])
  })

  it('says what is missing beside it', async () => {
    serve('onnx/model.onnx')
    const error = await caught(store.fetch(reference('hf:owner/name/onnx/model.onnx')))
    expect(error.code).toBe('STORE_HUB_NO_MODEL')
    expect(error.message).toContain('no config.json beside it')
  })
})
