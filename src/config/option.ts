/**
 * One setting as data: its schema, its default, how it is called in the file, in the environment and on the command
 * line, and what people are told of it. Turns what a person wrote into a checked value.
 *
 * Knows no particular setting; `options.ts` has the table. A setting whose default is `AUTO` is decided later, with a
 * reason (`resolve-config.ts`, or the deployment's plan where the model must be known).
 */

import type { TSchema } from 'typebox'
import { Check } from 'typebox/value'
import { configError } from './errors.ts'

/** Stands for "decide for me" in every setting that allows it. */
export const AUTO = 'auto'

/** How text becomes a value: `bytes` takes `2GiB`, `names` is a list with commas, `secret` is never shown. */
export type OptionKind = 'text' | 'integer' | 'bytes' | 'names' | 'secret'

export interface Option<T> {
  readonly schema: TSchema
  readonly kind: OptionKind
  readonly default: T
  /** `--port <number>`; `null` for the command's argument, and for secrets, which other users would see in a command line. */
  readonly flag: string | null
  readonly env: string
  /** For people: `an integer, 1 to 65535`. */
  readonly expected: string
  readonly help: string
}

/** Where a value was written, for messages and for the table printed at start. */
export interface Origin {
  readonly kind: 'default' | 'file' | 'env' | 'flag'
  /** `--port`, `INGOT_PORT`, `ingot.json`. */
  readonly source: string
  /** The key in the source's own words. */
  readonly key: string
  /** Line and column in a file, `:3:7`; absent elsewhere. */
  readonly place?: string
}

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
  TIB: 2 ** 40,
}

/**
 * Check what was written. Text is converted first, also in a file, where `"2GiB"` is a size.
 *
 * @throws ServingError CONFIG_BAD_VALUE naming the origin
 */
export function readValue<T>(option: Option<T>, written: unknown, origin: Origin): T {
  const value = typeof written === 'string' ? fromText(option, written) : written
  if (Check(option.schema, value)) return value as T
  throw configError('CONFIG_BAD_VALUE', {
    param: origin.key,
    details: {
      source: `${origin.source}${origin.place ?? ''}`,
      key: origin.key,
      expected: option.expected,
      got: option.kind === 'secret' ? 'something else' : shown(written),
      hint: kubernetesHint(written),
    },
  })
}

function fromText({ kind, schema }: Option<unknown>, text: string): unknown {
  const trimmed = text.trim()
  const isWord: boolean = Check(schema, trimmed) // such as `auto`
  if (isWord) return trimmed
  switch (kind) {
    case 'text':
    case 'secret':
      return trimmed
    case 'integer':
      return /^-?\d+$/.test(trimmed) ? Number(trimmed) : trimmed
    case 'bytes':
      return parseBytes(trimmed) ?? trimmed
    case 'names':
      return trimmed.split(',').map((name) => name.trim())
  }
}

/** `1.5GiB`, `512 MB`, `1048576`; `undefined` when it is no size. Whole bytes. */
export function parseBytes(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgt]?i?b?)$/i.exec(text)
  if (match === null) return undefined
  const letters = (match[2] ?? '').toUpperCase()
  // A bare letter means the binary unit, as on other tools' command lines.
  const unit = UNITS[/^[KMGT]I?$/.test(letters) ? `${letters[0]}IB` : letters]
  return unit === undefined ? undefined : Math.round(Number(match[1]) * unit)
}

/** A size for people: `1.4 GiB`. */
export function formatBytes(bytes: number): string {
  const names = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let power = 0
  while (power < names.length - 1 && bytes >= 1024 ** (power + 1)) power += 1
  const scaled = bytes / 1024 ** power
  return `${power === 0 ? scaled : scaled.toFixed(scaled < 10 ? 2 : 1)} ${names[power]}`
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 100 ? `${text.slice(0, 100)}…` : text
}

/** Kubernetes writes INGOT_PORT=tcp://… into every pod beside a service named `ingot`. */
function kubernetesHint(written: unknown): string {
  if (typeof written !== 'string' || !written.startsWith('tcp://')) return ''
  return '; Kubernetes sets this for a service named "ingot", set enableServiceLinks: false in the pod'
}
