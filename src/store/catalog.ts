/**
 * The models that have a name of their own: one JSON file each, with source and digest pinned.
 *
 * Owns the schema of `models/catalog/*.json`; knows no network. A file that does not fit stops the start: a catalog
 * that is half read would answer "unknown model" for one that is there.
 * I1: ids are unique, and at most one entry is the default.
 */

import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import Type, { type Static } from 'typebox'
import { Check, Errors } from 'typebox/value'
import { reasonOf, storeError } from './errors.ts'
import { type ModelSource, parseSource } from './source.ts'

const CatalogFile = Type.Object(
  {
    id: Type.String({ pattern: '^[a-z0-9][a-z0-9._-]{0,63}$' }),
    source: Type.Union([
      Type.String({ minLength: 1 }),
      // Parts that follow each other.
      Type.Array(Type.String({ minLength: 1 }), { minItems: 2 }),
    ]),
    sha256: Type.String({ pattern: '^[0-9a-f]{64}$' }),
    sizeBytes: Type.Integer({ minimum: 1 }),
    licence: Type.String({ minLength: 1 }),
    description: Type.String({ minLength: 1 }),
    quantization: Type.String({ minLength: 1 }),
    default: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
)

export interface CatalogEntry {
  /** Lower case; what a request and the command line name. */
  readonly id: string
  readonly source: ModelSource
  /** Of the weights' file itself, not of an archive around it; 64 hex digits. */
  readonly sha256: string
  readonly sizeBytes: number
  /** SPDX identifier. */
  readonly licence: string
  readonly description: string
  readonly quantization: string
  readonly isDefault: boolean
}

export interface Catalog {
  /** By id, in alphabetical order. */
  readonly entries: ReadonlyMap<string, CatalogEntry>
  readonly defaultEntry: CatalogEntry | undefined
}

/**
 * Read every `*.json` of a folder.
 *
 * @throws ServingError STORE_CATALOG_INVALID with file and field
 */
export async function readCatalog(folder: string): Promise<Catalog> {
  let names: string[]
  try {
    names = await readdir(folder)
  } catch (cause) {
    throw invalid(folder, reasonOf(cause), 'the folder', cause)
  }
  const entries = new Map<string, CatalogEntry>()
  let defaultEntry: CatalogEntry | undefined
  for (const name of names.filter((name) => name.endsWith('.json')).sort()) {
    const file = join(folder, name)
    const entry = await readEntry(file)
    if (entries.has(entry.id)) throw invalid(file, `a second "${entry.id}"`, 'id')
    if (entry.isDefault && defaultEntry !== undefined) {
      throw invalid(file, `a second default beside "${defaultEntry.id}"`, 'default')
    }
    entries.set(entry.id, entry)
    if (entry.isDefault) defaultEntry = entry
  }
  return { entries, defaultEntry }
}

async function readEntry(file: string): Promise<CatalogEntry> {
  let value: unknown
  try {
    value = JSON.parse(await readFile(file, 'utf8'))
  } catch (cause) {
    throw invalid(file, reasonOf(cause), 'the whole file', cause)
  }
  if (!Check(CatalogFile, value)) {
    const [first] = Errors(CatalogFile, value)
    throw invalid(file, first?.message ?? 'another value', first?.instancePath || 'the top level')
  }
  const { default: isDefault = false, source, ...rest } = value as Static<typeof CatalogFile>
  const parsed = parseSource(typeof source === 'string' ? source : source.join(' + '), file)
  if (parsed.kind === 'file') throw invalid(file, 'a path of one machine', 'source')
  return { ...rest, source: parsed, isDefault }
}

function invalid(file: string, reason: string, place: string, cause?: unknown): Error {
  return storeError('STORE_CATALOG_INVALID', { details: { file, reason, place }, cause })
}
