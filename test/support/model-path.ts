/**
 * Where the default model's file lies. INGOT_TEST_MODEL overrides; otherwise it comes through the store, once, into the
 * same home that `ingot serve` uses.
 */

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { loadConfig } from '../../src/config/load-config.ts'
import { readCatalog } from '../../src/store/catalog.ts'
import { referenceTo } from '../../src/store/model-reference.ts'
import { ModelStore } from '../../src/store/model-store.ts'
import { readStoreOptions } from '../../src/store/store-options.ts'

const CATALOG = fileURLToPath(new URL('../../models/catalog', import.meta.url))

export async function modelPath(): Promise<string> {
  const given = process.env.INGOT_TEST_MODEL
  if (given !== undefined && given !== '') return given
  const { home, environment } = loadConfig({ configFile: undefined, flags: {} }).config.store
  const store = new ModelStore(
    readStoreOptions({ root: home, env: environment, readFile: readOptional }),
  )
  try {
    const { defaultEntry } = await readCatalog(CATALOG)
    if (defaultEntry === undefined) throw new Error('the catalog has no default model')
    return (await store.fetch(referenceTo(defaultEntry))).path
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
