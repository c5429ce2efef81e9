/**
 * Where the models of the tests lie. They come through the store, once, into the same home that `ingot serve` uses;
 * INGOT_TEST_MODEL names a file instead of the default model.
 */

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { loadConfig } from '../../src/config/load-config.ts'
import { type CatalogEntry, readCatalog } from '../../src/store/catalog.ts'
import { referenceTo } from '../../src/store/model-reference.ts'
import { ModelStore } from '../../src/store/model-store.ts'
import { readStoreOptions } from '../../src/store/store-options.ts'

const CATALOG = fileURLToPath(new URL('../../models/catalog', import.meta.url))

export async function modelPath(): Promise<string> {
  const given = process.env.INGOT_TEST_MODEL
  if (given !== undefined && given !== '') return given
  const { defaultEntry } = await readCatalog(CATALOG)
  return pathOf(defaultEntry)
}

/** @throws what the store throws, such as when there is no network */
export async function catalogModelPath(id: string): Promise<string> {
  return pathOf((await readCatalog(CATALOG)).entries.get(id))
}

async function pathOf(entry: CatalogEntry | undefined): Promise<string> {
  if (entry === undefined) throw new Error('the catalog has no such model')
  const { home, environment } = loadConfig({ configFile: undefined, flags: {} }).config.store
  const store = new ModelStore(
    readStoreOptions({ root: home, env: environment, readFile: readOptional }),
  )
  try {
    return (await store.fetch(referenceTo(entry))).path
  } finally {
    await store.close()
  }
}

function readOptional(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    // A settings file that is absent has no settings.
    return undefined
  }
}
