/**
 * The three places where a person writes settings: the file, `INGOT_*` variables and flags. Each becomes a map from key to
 * what was written and where. Checks names, not values; what a file declares besides settings is `deployment`'s.
 *
 * I1 a name that is no setting is an error naming its source, with the nearest setting.
 */

import type { ServingError } from '../base/errors.ts'
import {
  type ConfigFile,
  describeNode,
  type MapNode,
  parseConfigFile,
  plainOf,
} from './document.ts'
import { configError } from './errors.ts'
import { placed } from './hostile-text.ts'
import { didYouMean } from './nearest.ts'
import type { Origin } from './option.ts'
import {
  CONFIG_FILE_VARIABLE,
  OPTION_KEYS,
  OPTIONS,
  type OptionKey,
  TEST_VARIABLE_PREFIX,
} from './options.ts'

export interface Written {
  readonly value: unknown
  readonly origin: Origin
}

export type WrittenValues = ReadonlyMap<OptionKey, Written>

/** What a file may declare besides settings. */
export const DECLARATIONS = ['pool', 'endpoints', 'aliases'] as const

/** @throws ServingError CONFIG_FILE_INVALID, CONFIG_UNKNOWN_KEY and what `parseConfigFile` throws */
export function valuesOfFile(file: ConfigFile): WrittenValues {
  return valuesOfDocument(file.path, parseConfigFile(file))
}

/** @throws ServingError CONFIG_FILE_INVALID, CONFIG_UNKNOWN_KEY */
export function valuesOfDocument(path: string, root: MapNode): WrittenValues {
  const problems: ServingError[] = []
  const values = collectValues(path, root, problems)
  if (problems[0] !== undefined) throw problems[0]
  return values
}

/** The settings that there are, and a problem for each name that is none. */
export function collectValues(
  path: string,
  root: MapNode,
  problems: ServingError[],
): WrittenValues {
  const values = new Map<OptionKey, Written>()
  for (const { key: slice, at, value: settings } of root.entries) {
    if (DECLARATIONS.some((name) => name === slice)) continue
    if (!SLICES.includes(slice)) {
      problems.push(unknown(placed(path, at), slice, [...SLICES, ...DECLARATIONS]))
    } else if (settings.kind === 'map') {
      collectSlice(path, slice, settings, { values, problems })
    } else {
      const details = { file: placed(path, settings.at), got: describeNode(settings) }
      problems.push(configError('CONFIG_FILE_INVALID', { details }))
    }
  }
  return values
}

interface Collected {
  readonly values: Map<OptionKey, Written>
  readonly problems: ServingError[]
}

function collectSlice(
  path: string,
  slice: string,
  settings: MapNode,
  { values, problems }: Collected,
): void {
  for (const { key: name, at, value } of settings.entries) {
    const key = `${slice}.${name}`
    if (!isOptionKey(key)) {
      problems.push(unknown(placed(path, at), key, OPTION_KEYS))
      continue
    }
    const { line, column } = value.at
    const origin = { kind: 'file', source: path, key, place: `:${line}:${column}` } as const
    values.set(key, { value: plainOf(value), origin })
  }
}

/** Settings that one file has otherwise than another. */
export function changedKeys(before: WrittenValues, after: WrittenValues): readonly OptionKey[] {
  const shown = (values: WrittenValues, key: OptionKey): string | undefined =>
    JSON.stringify(values.get(key)?.value)
  const keys = [...new Set([...before.keys(), ...after.keys()])]
  return keys.filter((key) => shown(before, key) !== shown(after, key))
}

/**
 * Only names that begin with `INGOT_` are looked at; an empty value counts as absent, as in compose files.
 *
 * @throws ServingError CONFIG_UNKNOWN_KEY
 */
export function valuesOfEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
): WrittenValues {
  const names = new Map(OPTION_KEYS.map((key) => [OPTIONS[key].env, key]))
  const values = new Map<OptionKey, Written>()
  for (const [name, value] of Object.entries(environment)) {
    if (!name.startsWith('INGOT_') || name.startsWith(TEST_VARIABLE_PREFIX)) continue
    if (name === CONFIG_FILE_VARIABLE || value === undefined || value === '') continue
    // Kubernetes describes a service named `ingot` in variables of this form to every pod beside it.
    if (/^INGOT_(?:SERVICE_|PORT_\d)/.test(name)) continue
    const key = names.get(name)
    if (key === undefined) throw unknown('environment', name, [...names.keys()])
    values.set(key, { value, origin: { kind: 'env', source: 'environment', key: name } })
  }
  return values
}

/** Flags by key; the command line's own parser has refused unknown ones already. */
export function valuesOfFlags(flags: Readonly<Partial<Record<OptionKey, unknown>>>): WrittenValues {
  const values = new Map<OptionKey, Written>()
  for (const key of OPTION_KEYS) {
    const value = flags[key]
    if (value === undefined) continue
    const flag = OPTIONS[key].flag?.split(' ')[0] ?? 'MODEL'
    values.set(key, { value, origin: { kind: 'flag', source: 'command line', key: flag } })
  }
  return values
}

const SLICES = [...new Set(OPTION_KEYS.map((key) => key.slice(0, key.indexOf('.'))))]

function isOptionKey(key: string): key is OptionKey {
  return Object.hasOwn(OPTIONS, key)
}

function unknown(source: string, key: string, known: readonly string[]): ServingError {
  const details = { source, key, hint: didYouMean(key, known), docs: 'docs/configuration.md' }
  return configError('CONFIG_UNKNOWN_KEY', { param: key, details })
}
