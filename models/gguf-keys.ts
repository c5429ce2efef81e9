/**
 * Reads one architecture's GGUF keys strictly: each value is of the type and range asked for, and keys that nobody asked
 * for are refused at the end, because a key that is not understood may change the mathematics.
 *
 * Owns the set of keys that were asked for. Knows no architecture.
 * K1 After `refuseUnread` returns, every key below the prefix has been read or was allowed by name.
 */

import type { Checkpoint, MetadataValue } from '../src/checkpoint/checkpoint.ts'
import { modelError } from './errors.ts'

export interface NumberRange {
  readonly least: number
  readonly most: number
}

export class GgufKeys {
  readonly #checkpoint: Checkpoint
  readonly #prefix: string
  readonly #read = new Set<string>()

  /** @param architecture - the prefix of its keys, without the dot */
  constructor(checkpoint: Checkpoint, architecture: string) {
    this.#checkpoint = checkpoint
    this.#prefix = architecture
  }

  /** A whole number. A missing key is an error unless `fallback` is given. */
  integer(key: string, { least, most }: NumberRange, fallback?: number): number {
    const value = this.#value(key)
    if (value === undefined && fallback !== undefined) return fallback
    if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) {
      return value
    }
    throw this.#bad(key, `a whole number from ${least} to ${most}`, value)
  }

  /** A finite number. A missing key is an error unless `fallback` is given. */
  number(key: string, { least, most }: NumberRange, fallback?: number): number {
    const value = this.#value(key)
    if (value === undefined && fallback !== undefined) return fallback
    if (typeof value === 'number' && value >= least && value <= most) return value
    throw this.#bad(key, `a number from ${least} to ${most}`, value)
  }

  text(key: string, fallback: string): string {
    const value = this.#value(key)
    if (value === undefined) return fallback
    if (typeof value === 'string') return value
    throw this.#bad(key, 'a text', value)
  }

  /** A key that may be there as long as it changes nothing: absent, or one of `neutral`. */
  neutral(key: string, neutral: readonly MetadataValue[]): void {
    const value = this.#value(key)
    if (value === undefined || neutral.includes(value)) return
    throw this.unsupported(key, value, neutral.map(String).join(' or '))
  }

  /** @param allowed - keys that say nothing about the computation */
  refuseUnread(allowed: readonly string[]): void {
    const prefix = `${this.#prefix}.`
    for (const [key, value] of this.#checkpoint.metadata) {
      if (!key.startsWith(prefix) || this.#read.has(key)) continue
      if (allowed.includes(key.slice(prefix.length))) continue
      throw this.unsupported(key.slice(prefix.length), value, 'the key absent')
    }
  }

  unsupported(key: string, got: MetadataValue, expected: string): Error {
    return modelError('MODEL_UNSUPPORTED_FEATURE', {
      details: { ...this.#place(key), architecture: this.#prefix, got: shown(got), expected },
    })
  }

  #bad(key: string, expected: string, got: MetadataValue | undefined): Error {
    const details = {
      ...this.#place(key),
      expected,
      got: got === undefined ? 'no such key' : shown(got),
    }
    return modelError('MODEL_BAD_METADATA', { details })
  }

  #value(key: string): MetadataValue | undefined {
    const name = `${this.#prefix}.${key}`
    this.#read.add(name)
    return this.#checkpoint.metadata.get(name)
  }

  #place(key: string): { file: string; key: string } {
    return { file: this.#checkpoint.files[0] ?? '', key: `${this.#prefix}.${key}` }
  }
}

/** Metadata is hostile input: a megabyte of it does not belong in a message. */
export function shown(value: MetadataValue): string {
  const text = Array.isArray(value) ? `an array of ${value.length}` : JSON.stringify(String(value))
  return text.length > 80 ? `${text.slice(0, 80)}…` : text
}
