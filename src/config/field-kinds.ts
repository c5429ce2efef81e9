/**
 * Kinds of values in what a configuration file declares: how each is written, and the words that say so. Pure; ranges and
 * what values mean together are checked where the declaration is whole.
 */

import type { ScalarNode } from './document.ts'
import { parseBytes } from './option.ts'

/** How a scalar becomes a value. `expected` completes "expected … to be". */
export interface FieldKind<T> {
  readonly expected: string
  /** `undefined` when it is none. */
  parse(scalar: ScalarNode): T | undefined
}

/** Text; a number or a word that YAML reads as something else counts as the text that was written. */
export function text(expected: string): FieldKind<string> {
  return { expected, parse: (node) => (node.value === null ? undefined : node.text.trim()) }
}

export function oneOf<const W extends readonly string[]>(words: W): FieldKind<W[number]> {
  const quoted = words.map((word) => `"${word}"`)
  const expected = `${quoted.slice(0, -1).join(', ')} or ${quoted.at(-1)}`
  return { expected, parse: ({ value }) => words.find((word) => word === value) }
}

export const integer: FieldKind<number> = {
  expected: 'an integer',
  parse: ({ value }) => (Number.isSafeInteger(value) ? (value as number) : undefined),
}

export const number: FieldKind<number> = {
  expected: 'a number',
  parse: ({ value }) => (Number.isFinite(value) ? (value as number) : undefined),
}

export const boolean: FieldKind<boolean> = {
  expected: 'true or false',
  parse: ({ value }) => (typeof value === 'boolean' ? value : undefined),
}

export const bytes: FieldKind<number> = {
  expected: 'a size such as 2GiB',
  parse: ({ value, text: written }) => {
    const parsed = typeof value === 'number' ? value : parseBytes(written.trim())
    return Number.isSafeInteger(parsed) ? parsed : undefined
  },
}

const UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

/** Milliseconds; a bare number is seconds, as in every other setting. */
export const duration: FieldKind<number> = {
  expected: 'a time such as 30s, 10m or 1h',
  parse: ({ value, text: written }) => {
    const match = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?$/.exec(written.trim())
    if (match === null || typeof value === 'boolean') return undefined
    const ms = Math.round(Number(match[1]) * (UNITS_MS[match[2] ?? 's'] ?? 0))
    return Number.isSafeInteger(ms) ? ms : undefined
  },
}

/** A word such as `auto` or `off` beside another kind. */
export function orWord<T, W extends string>(kind: FieldKind<T>, word: W): FieldKind<T | W> {
  return {
    expected: `${kind.expected}, or ${word}`,
    parse: (node) => (node.value === word ? word : kind.parse(node)),
  }
}
