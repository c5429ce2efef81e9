/**
 * From what a person wrote to what can be fetched: a catalog id, a source, or a path. Decides by form and by the
 * catalog; looks at the disk only to tell a bare file name from a misspelt id. Fetches nothing.
 */

import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { resolve } from 'node:path'
import type { Catalog, CatalogEntry } from './catalog.ts'
import { storeError } from './errors.ts'
import { isSourceText, type ModelSource, parseSource } from './source.ts'

export interface ModelReference {
  /** As it was written; a catalog id in its catalog spelling. */
  readonly name: string
  readonly source: ModelSource
  /** What the bytes must be; `null` = whatever the source gives. */
  readonly sha256: string | null
  readonly sizeBytes: number | null
  readonly entry: CatalogEntry | null
}

export interface ResolveContext {
  readonly catalog: Catalog
  /** What relative paths start from; the working folder when left out. */
  readonly folder?: string
}

/**
 * Resolve what was written. Order: catalog id (any case), source with a scheme, path.
 *
 * @throws ServingError STORE_UNKNOWN_MODEL with the catalog's ids and near matches; STORE_BAD_SOURCE; STORE_INSECURE_URL
 */
export function resolveModel(written: string, context: ResolveContext): ModelReference {
  const { catalog, folder = process.cwd() } = context
  const entry = catalog.entries.get(written.toLowerCase())
  if (entry !== undefined) return referenceTo(entry)
  if (isSourceText(written)) {
    const source = parseSource(written, folder)
    const sha256 = source.kind === 'url' ? source.sha256 : null
    return { name: written, source, sha256, sizeBytes: null, entry: null }
  }
  const path = resolve(
    folder,
    written.replace(/^~(?=\/)/, () => homedir()),
  )
  if (looksLikePath(written) || (written !== '' && existsSync(path))) {
    const source = { kind: 'file', path } as const
    return { name: written, source, sha256: null, sizeBytes: null, entry: null }
  }
  throw unknownModel(written, [...catalog.entries.keys()])
}

/** The reference of a catalog entry. */
export function referenceTo(entry: CatalogEntry): ModelReference {
  const { id, source, sha256, sizeBytes } = entry
  return { name: id, source, sha256, sizeBytes, entry }
}

function looksLikePath(written: string): boolean {
  return /^(?:\.{0,2}|~)\//.test(written) || /\.(?:gguf|onnx)$/i.test(written)
}

function unknownModel(name: string, ids: readonly string[]): Error {
  // A name that comes from a request may be of any length; distances cost its square.
  const near = name.length > 128 ? [] : ids.filter((id) => isNear(name.toLowerCase(), id))
  const hint =
    near.length === 0 ? '' : ` (did you mean ${near.map((id) => `"${id}"`).join(' or ')}?)`
  const looksLikeHub = /^[\w.-]+\/[\w.-]+/.test(name)
  const source = looksLikeHub ? ` (for the hub write hf:${name}/FILE)` : hint
  const catalog = ids.length === 0 ? 'nothing' : ids.join(', ')
  return storeError('STORE_UNKNOWN_MODEL', {
    param: 'model',
    details: { name: name.slice(0, 200), hint: source, catalog },
  })
}

/** One contains the other's beginning, or few letters differ. */
function isNear(name: string, id: string): boolean {
  if (name.length >= 3 && (id.startsWith(name) || name.startsWith(id))) return true
  return editDistance(name, id) <= Math.max(2, Math.floor(id.length / 4))
}

/** Levenshtein with one row. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const substituted = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(substituted, (row[j] as number) + 1, (next[j - 1] as number) + 1))
    }
    row = next
  }
  return row[b.length] as number
}
