/**
 * What a configuration file declares besides settings: `pool`, `endpoints` and `aliases`, as a frozen catalog.
 *
 * Owns nothing. Translates the file's words; what must be true of the whole is `check-catalog.ts`'s, and each problem is
 * told with file, line and column. Sizes and formats that are left out stay automatic, or are the configuration's.
 *
 * I1 a catalog is whole, or there is none: with one problem anywhere nothing of the file is used.
 */

import type { ServingError } from '../../base/errors.ts'
import type { MapNode } from '../../config/document.ts'
import { configError } from '../../config/errors.ts'
import { boolean, bytes, integer, oneOf, orWord, text } from '../../config/field-kinds.ts'
import { MapReader, type ReadContext, readMap } from '../../config/fields.ts'
import { type Place, placed } from '../../config/hostile-text.ts'
import { AUTO } from '../../config/option.ts'
import { checkCatalog } from './check-catalog.ts'
import { DEFAULT_CONCURRENT_LOADS } from './endpoint-defaults.ts'
import { type DeclarationDefaults, readEndpoint } from './endpoint-file.ts'
import {
  type AliasSpec,
  type EndpointCatalog,
  type EndpointSpec,
  QUANTIZATIONS,
} from './endpoint-spec.ts'

/** A file that was read; `config` has made sense of its settings. */
export interface DeclaringFile {
  readonly path: string
  readonly root: MapNode
}

export const EMPTY_CATALOG: EndpointCatalog = Object.freeze({
  memoryBudgetBytes: null,
  maxConcurrentLoads: DEFAULT_CONCURRENT_LOADS,
  endpoints: [],
  aliases: [],
})

export interface ReadCatalog {
  /** `null` when there is any problem (I1). */
  readonly catalog: EndpointCatalog | null
  readonly problems: readonly ServingError[]
  /** `file:line:column` of a path, or of the nearest thing around it. */
  placed(path: string): string
}

/**
 * @throws ServingError CONFIG_UNKNOWN_KEY, CONFIG_BAD_VALUE: the first of the problems
 */
export function catalogOf(file: DeclaringFile, defaults: DeclarationDefaults): EndpointCatalog {
  const { catalog, problems } = readCatalog(file, defaults)
  if (catalog === null) throw problems[0]
  return catalog
}

/** Everything that is wrong, for `ingot config check`. */
export function readCatalog(file: DeclaringFile, defaults: DeclarationDefaults): ReadCatalog {
  const places = new Map<string, Place>()
  const context: ReadContext = { file: file.path, docs: 'docs/endpoints.md', problems: [], places }
  const root = new MapReader(file.root, '', context)
  const pool = root.readMap('pool')
  const memoryBudget = pool?.read('memoryBudget', orWord(bytes, AUTO)) ?? AUTO
  const maxConcurrentLoads = pool?.read('maxConcurrentLoads', integer)
  pool?.finish()
  const catalog: EndpointCatalog = {
    memoryBudgetBytes: memoryBudget === AUTO ? null : memoryBudget,
    maxConcurrentLoads: maxConcurrentLoads ?? DEFAULT_CONCURRENT_LOADS,
    endpoints: readEndpoints(root.readMap('endpoints'), context, defaults),
    aliases: readAliases(root.readMap('aliases'), context),
  }
  const placedPath = (path: string): string => placed(file.path, placeOf(path, places))
  // What could not be read is missing here, so checking the whole would only tell of consequences.
  const problems =
    context.problems.length > 0
      ? context.problems
      : checkCatalog(catalog).map(({ path, expected, got, hint }) => {
          const source = placedPath(path)
          const details = { source, key: path, expected, got, hint }
          return configError('CONFIG_BAD_VALUE', { param: path, details })
        })
  const isWhole = problems.length === 0
  return { catalog: isWhole ? deepFreeze(catalog) : null, problems, placed: placedPath }
}

function readEndpoints(
  map: MapReader | undefined,
  context: ReadContext,
  defaults: DeclarationDefaults,
): readonly EndpointSpec[] {
  return (map?.names() ?? []).flatMap(({ key, value }) => {
    const reader = readMap(value, `endpoints.${key}`, context)
    return reader === undefined ? [] : (readEndpoint(key, reader, defaults, context) ?? [])
  })
}

function readAliases(map: MapReader | undefined, context: ReadContext): readonly AliasSpec[] {
  return (map?.names() ?? []).flatMap(({ key, value }) => {
    // `chat: smollm2` and `chat: [smollm2, other]` are its targets alone.
    const isShort = value.kind !== 'map'
    const entries = [{ key: 'targets', at: value.at, value }]
    const node: MapNode = isShort ? { kind: 'map', entries, at: value.at } : value
    const reader = readMap(node, `aliases.${key}`, context)
    return reader === undefined ? [] : [readAlias(key, reader)]
  })
}

const name = text('the name of an endpoint or of another alias')

function readAlias(key: string, reader: MapReader): AliasSpec {
  const alias: AliasSpec = {
    name: key,
    targets: reader.readList('targets', name) ?? [],
    allowFallbacks: reader.read('allowFallbacks', boolean) ?? true,
    quantizations: reader.readList('quantizations', oneOf(QUANTIZATIONS)) ?? null,
    revision: reader.read('revision', oneOf(['pinned', 'newest'])) ?? 'newest',
    region: reader.read('region', text('a label such as eu-central')) ?? null,
    retention: reader.read('retention', oneOf(['none', 'standard'])) ?? null,
  }
  reader.finish()
  return alias
}

/** Of the value, or of the nearest thing around it that the file has. */
function placeOf(path: string, places: ReadonlyMap<string, Place>): Place {
  for (let at = path; at !== ''; at = parentOf(at)) {
    const place = places.get(at)
    if (place !== undefined) return place
  }
  return { line: 1, column: 1 }
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf('.'), path.lastIndexOf('['), 0))
}

function deepFreeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) {
    if (typeof part === 'object' && part !== null) deepFreeze(part)
  }
  return Object.freeze(value)
}
