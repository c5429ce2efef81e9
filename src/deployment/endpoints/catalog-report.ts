/**
 * What is wrong with a catalog, collected: the problems and the words that they share. Knows no declaration itself.
 */

import { didYouMean } from '../../config/nearest.ts'
import { formatBytes } from '../../config/option.ts'

export interface CatalogProblem {
  readonly path: string
  /** Completes "expected PATH to be …". */
  readonly expected: string
  readonly got: string
  /** ` (did you mean "x"?)`, or nothing. */
  readonly hint: string
}

export const NAME_PATTERN: RegExp = /^[A-Za-z0-9][A-Za-z0-9._/:-]{0,199}$/
export const NAME_EXPECTED =
  'a name of 1 to 200 letters, digits and . _ / : - that begins with a letter or digit'
const MEBIBYTE = 2 ** 20

/** Collects problems, with the words that ranges share. */
export class Report {
  readonly problems: CatalogProblem[] = []

  add(path: string, expected: string, got: string, known: readonly string[] = []): void {
    const hint = didYouMean(got.replace(/^"|"$/g, ''), known)
    this.problems.push({ path, expected, got, hint })
  }

  /** minimum ≤ value ≤ maximum, whole; `null` = automatic. */
  range(path: string, value: number | null, [minimum, maximum]: readonly [number, number]): void {
    const isInside = Number.isInteger(value) && (value ?? 0) >= minimum && (value ?? 0) <= maximum
    if (value === null || isInside) return
    this.add(path, `an integer from ${minimum} to ${maximum}`, String(value))
  }

  /** Labels are told in headers and matched by constraints. */
  label(path: string, label: string | null): void {
    if (label === null || /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(label)) return
    this.add(path, 'a label of 1 to 64 letters, digits and . _ -', quote(label))
  }

  size(path: string, value: number | null): void {
    if (value === null || (Number.isSafeInteger(value) && value >= MEBIBYTE)) return
    this.add(path, 'a size of at least 1MiB, or auto', formatBytes(value))
  }

  time(path: string, valueMs: number | null, [minimum, maximum]: readonly [number, number]): void {
    if (valueMs === null || (valueMs >= minimum && valueMs <= maximum)) return
    const expected = `a time from ${minimum / 1000}s to ${maximum / 1000}s`
    this.add(path, expected, `${valueMs / 1000}s`)
  }
}

export function quote(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text)
}
