/**
 * The three places where a person writes settings: the JSON file, `INGOT_*` variables and flags. Each becomes a map from
 * key to what was written and where. Checks names, not values.
 *
 * I1 a name that is no setting is an error naming its source, with the nearest setting.
 */

import { configError } from './errors.ts'
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

export interface ConfigFile {
  /** As it is shown. */
  readonly path: string
  readonly text: string
}

/** @throws ServingError CONFIG_FILE_INVALID, CONFIG_UNKNOWN_KEY */
export function valuesOfFile({ path, text }: ConfigFile): WrittenValues {
  const values = new Map<OptionKey, Written>()
  for (const [slice, settings] of Object.entries(objectOf(parseJson(path, text), path))) {
    if (!OPTION_KEYS.some((key) => key.startsWith(`${slice}.`))) throw unknown(path, slice, SLICES)
    for (const [name, value] of Object.entries(objectOf(settings, path))) {
      const key = `${slice}.${name}`
      if (!isOptionKey(key)) throw unknown(path, key, OPTION_KEYS)
      values.set(key, { value, origin: { kind: 'file', source: path, key } })
    }
  }
  return values
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

function parseJson(path: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    const got = cause instanceof Error ? cause.message : String(cause)
    throw configError('CONFIG_FILE_INVALID', { details: { file: path, got }, cause })
  }
}

function objectOf(value: unknown, path: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>
  }
  const got = Array.isArray(value) ? 'an array' : JSON.stringify(value)
  throw configError('CONFIG_FILE_INVALID', { details: { file: path, got } })
}

function unknown(source: string, key: string, known: readonly string[]): Error {
  const flat = flatten(key)
  const near = known.find((name) => flatten(name).includes(flat) || flat.includes(flatten(name)))
  const hint = near === undefined ? '' : ` (did you mean "${near}"?)`
  return configError('CONFIG_UNKNOWN_KEY', { param: key, details: { source, key, hint } })
}

/** Spelling differences that people make: case, and how words are joined. */
function flatten(name: string): string {
  return name
    .replace(/^INGOT_/, '')
    .replace(/[^a-zA-Z0-9]/g, '')
    .toLowerCase()
}
