/** A store in a folder of its own, with pauses short enough for tests; and the catalog of nothing. */

import { mkdtemp, readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../src/base/clock.ts'
import type { Catalog } from '../../src/store/catalog.ts'
import { type ModelReference, resolveModel } from '../../src/store/model-reference.ts'
import { ModelStore, type StoreOptions } from '../../src/store/model-store.ts'

export const EMPTY_CATALOG: Catalog = { entries: new Map(), defaultEntry: undefined }

export async function makeStore(options: Partial<StoreOptions> & { indexUrl?: string } = {}) {
  const root = options.root ?? (await mkdtemp(join(tmpdir(), 'ingot-store-')))
  return new ModelStore({
    root,
    pip: {
      indexUrls: [options.indexUrl ?? 'http://127.0.0.1:1/simple/'],
      noIndex: false,
      certificateFile: null,
      proxy: null,
      trustedHosts: [],
    },
    hub: {},
    http: { retryDelayMs: 1, maxAttempts: 3 },
    clock: systemClock,
    ...options,
  })
}

/** A reference to a source, with the digest that is expected of it. */
export function reference(text: string, sha256: string | null = null): ModelReference {
  const resolved = resolveModel(text, { catalog: EMPTY_CATALOG })
  return { ...resolved, sha256: sha256 ?? resolved.sha256 }
}

/** Names in a folder of the store. */
export async function namesIn(store: ModelStore, folder: string): Promise<string[]> {
  return (await readdir(join(store.root, folder))).sort()
}
