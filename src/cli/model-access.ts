/**
 * From what a person calls a model to its verified file: catalog, store and progress put together, for every command.
 */

import { readFileSync } from 'node:fs'
import type { StoreConfig } from '../config/runtime-config.ts'
import { type Catalog, readCatalog } from '../store/catalog.ts'
import { type ModelReference, referenceTo, resolveModel } from '../store/model-reference.ts'
import { ModelStore, type StoredModel } from '../store/model-store.ts'
import { readStoreOptions } from '../store/store-options.ts'
import { cliError } from './errors.ts'
import { packageFiles } from './package-files.ts'
import { Progress } from './progress.ts'

/** What the store's stages are called for people. */
const STAGES: Readonly<Record<string, string>> = {
  wait: 'waiting for another process that fetches it',
  resolve: 'looking it up',
  download: 'downloading',
  extract: 'extracting',
  digest: 'hashing',
}

export interface ModelAccess {
  readonly catalog: Catalog
  readonly store: ModelStore
  /** @param written - `null` = the catalog's default */
  reference(written: string | null): ModelReference
  /** Fetch with progress shown, unless it is stored. */
  fetch(reference: ModelReference, options?: FetchChoices): Promise<StoredModel>
}

export interface FetchChoices {
  readonly signal?: AbortSignal
  readonly refresh?: boolean
}

export async function openModelAccess(config: StoreConfig): Promise<ModelAccess> {
  const catalog = await readCatalog(packageFiles().catalogFolder)
  const store = new ModelStore(
    readStoreOptions({ root: config.home, env: config.environment, readFile: readOptional }),
  )
  return {
    catalog,
    store,
    reference: (written) => referenceOf(written, catalog),
    fetch: async (reference, choices = {}) => {
      const progress = new Progress()
      try {
        return await store.fetch(reference, {
          ...choices,
          onProgress: (stage, doneBytes, totalBytes) =>
            progress.bytes(stageName(stage), doneBytes, totalBytes),
        })
      } finally {
        progress.stop()
      }
    },
  }
}

/** What a stage of the store is called for people. */
export function stageName(stage: string): string {
  return STAGES[stage] ?? stage
}

function referenceOf(written: string | null, catalog: Catalog): ModelReference {
  if (written !== null) return resolveModel(written, { catalog })
  if (catalog.defaultEntry !== undefined) return referenceTo(catalog.defaultEntry)
  const names = [...catalog.entries.keys()].join(', ') || 'nothing'
  throw cliError('CLI_NO_DEFAULT_MODEL', { details: { catalog: names } })
}

/** pip's settings and certificates; a file that is absent has no settings. */
function readOptional(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
