/**
 * Reads one architecture's configuration strictly, be it GGUF keys or a `config.json`: each value is of the type and
 * range asked for, and keys that nobody asked for are refused at the end, because a key that is not understood may
 * change the mathematics.
 *
 * Owns the set of keys that were asked for. Knows no architecture. JSON's `null` counts as absent.
 * K1 After `refuseUnread` returns, every key below the prefix has been read or was allowed by name.
 */

import type { Checkpoint, MetadataValue } from '../../src/checkpoint/checkpoint.ts'
import { modelError } from '../errors.ts'

export interface NumberRange {
  readonly least: number
  readonly most: number
}

interface KeySource {
  readonly file: string
  readonly architecture: string
  readonly values: ReadonlyMap<string, MetadataValue>
  /** In front of each key in `values`, with its dot. */
  readonly prefix: string
  /** In front of each key in messages. */
  readonly path: string
}

export class ConfigKeys {
  readonly #source: KeySource
  readonly #read = new Set<string>()

  private constructor(source: KeySource) {
    this.#source = source
  }

  /** GGUF keys of an architecture, `llama.block_count` and so on. */
  static ofGguf(checkpoint: Checkpoint, architecture: string): ConfigKeys {
    const prefix = `${architecture}.`
    const { files, metadata: values } = checkpoint
    return new ConfigKeys({ file: files[0] ?? '', architecture, values, prefix, path: prefix })
  }

  /** The members of `config.json`. */
  static ofJson(checkpoint: Checkpoint, architecture: string): ConfigKeys {
    const { files, metadata: values } = checkpoint
    return new ConfigKeys({ file: files[0] ?? '', architecture, values, prefix: '', path: '' })
  }

  /** The members of the object at `key`, to be finished with its own `refuseUnread`; `null` when absent or empty. */
  child(key: string): ConfigKeys | null {
    const value = this.#value(key)
    if (value === undefined) return null
    if (!(value instanceof Map)) throw this.bad(key, 'an object', value)
    if (value.size === 0) return null
    const path = `${this.#source.path}${key}.`
    return new ConfigKeys({ ...this.#source, values: value, prefix: '', path })
  }

  /** As `child`, of an object without members. */
  empty(): ConfigKeys {
    return new ConfigKeys({ ...this.#source, values: new Map(), prefix: '' })
  }

  /** A whole number. A missing key is an error unless `fallback` is given. */
  integer(key: string, { least, most }: NumberRange, fallback?: number): number {
    const value = this.#value(key)
    if (value === undefined && fallback !== undefined) return fallback
    if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) {
      return value
    }
    throw this.bad(key, `a whole number from ${least} to ${most}`, value)
  }

  /** A finite number. A missing key is an error unless `fallback` is given. */
  number(key: string, { least, most }: NumberRange, fallback?: number): number {
    const value = this.#value(key)
    if (value === undefined && fallback !== undefined) return fallback
    if (typeof value === 'number' && value >= least && value <= most) return value
    throw this.bad(key, `a number from ${least} to ${most}`, value)
  }

  /** One whole number or a list of them; `null` when absent. */
  integers(key: string, range: NumberRange): readonly number[] | null {
    const value = this.#value(key)
    if (value === undefined) return null
    const list: readonly MetadataValue[] = Array.isArray(value) ? value : [value]
    const { least, most } = range
    const isRight = (element: MetadataValue): element is number =>
      typeof element === 'number' &&
      Number.isInteger(element) &&
      element >= least &&
      element <= most
    if (list.every(isRight)) return list
    throw this.bad(key, `whole numbers from ${least} to ${most}`, value)
  }

  /** Finite numbers, `length` of them. */
  numbers(key: string, { least, most }: NumberRange, length: number): readonly number[] {
    const value = this.#value(key)
    const isRight = (element: MetadataValue): element is number =>
      typeof element === 'number' && element >= least && element <= most
    if (Array.isArray(value) && value.length === length && value.every(isRight)) return value
    throw this.bad(key, `${length} numbers from ${least} to ${most}`, value)
  }

  /** `length` truth values; `null` when the key is absent or no list. */
  flags(key: string, length: number): readonly boolean[] | null {
    const value = this.#value(key)
    if (!Array.isArray(value)) return null
    const isRight = (element: MetadataValue): element is boolean => typeof element === 'boolean'
    if (value.length === length && value.every(isRight)) return value
    throw this.bad(key, `${length} times true or false`, value)
  }

  /** A list of texts, each one of `allowed`; `null` when absent. */
  texts<Text extends string>(key: string, allowed: readonly Text[]): readonly Text[] | null {
    const value = this.#value(key)
    if (value === undefined) return null
    if (!Array.isArray(value)) throw this.bad(key, 'a list of texts', value)
    const isRight = (element: MetadataValue): element is Text =>
      allowed.some((text) => text === element)
    const other = value.find((element) => !isRight(element))
    if (other === undefined && value.every(isRight)) return value
    throw this.unsupported(key, other ?? null, `a list of ${allowed.join(' or ')}`)
  }

  text(key: string, fallback: string): string {
    const value = this.#value(key)
    if (value === undefined) return fallback
    if (typeof value === 'string') return value
    throw this.bad(key, 'a text', value)
  }

  flag(key: string, fallback: boolean): boolean {
    const value = this.#value(key)
    if (value === undefined) return fallback
    if (typeof value === 'boolean') return value
    throw this.bad(key, 'true or false', value)
  }

  /** A key that says nothing of the computation in this place. */
  ignore(key: string): void {
    this.#value(key)
  }

  /** Whether the member is there as `null`, where that is not the same as absent. */
  isNull(key: string): boolean {
    return this.#source.values.get(`${this.#source.prefix}${key}`) === null
  }

  has(key: string): boolean {
    return this.#value(key) !== undefined
  }

  /** A list that has `member` when it is there at all. */
  includes(key: string, member: string): void {
    const value = this.#value(key)
    if (value === undefined || (Array.isArray(value) && value.includes(member))) return
    throw this.unsupported(key, value, `a list with ${member}`)
  }

  /** A key that may be there as long as it changes nothing: absent, or one of `neutral`. */
  neutral(key: string, neutral: readonly MetadataValue[]): void {
    const value = this.#value(key)
    if (value === undefined || neutral.includes(value)) return
    throw this.unsupported(key, value, neutral.map(String).join(' or '))
  }

  /** Whether somebody has asked for the key. */
  wasRead(key: string): boolean {
    return this.#read.has(`${this.#source.prefix}${key}`)
  }

  /** The key as messages show it. */
  pathOf(key: string): string {
    return `${this.#source.path}${key}`
  }

  /** @param allowed - keys that say nothing about the computation */
  refuseUnread(allowed: readonly string[]): void {
    const { prefix, values } = this.#source
    for (const [key, value] of values) {
      if (value === null || !key.startsWith(prefix) || this.#read.has(key)) continue
      if (allowed.includes(key.slice(prefix.length))) continue
      throw this.unsupported(key.slice(prefix.length), value, 'the key absent')
    }
  }

  /** A value that would change the mathematics in a way that is not computed. */
  unsupported(key: string, got: MetadataValue, expected: string): Error {
    return modelError('MODEL_UNSUPPORTED_FEATURE', {
      details: {
        ...this.#place(key),
        architecture: this.#source.architecture,
        got: shown(got),
        expected,
      },
    })
  }

  /** A value that is wrong in itself. */
  bad(key: string, expected: string, got: MetadataValue | undefined): Error {
    const details = {
      ...this.#place(key),
      expected,
      got: got === undefined ? 'no such key' : shown(got),
    }
    return modelError('MODEL_BAD_METADATA', { details })
  }

  #value(key: string): MetadataValue | undefined {
    const name = `${this.#source.prefix}${key}`
    this.#read.add(name)
    return this.#source.values.get(name) ?? undefined
  }

  #place(key: string): { file: string; key: string } {
    return { file: this.#source.file, key: this.pathOf(key) }
  }
}

/** Metadata is hostile input: a megabyte of it does not belong in a message. */
export function shown(value: MetadataValue): string {
  if (value instanceof Map) return `an object of ${value.size}`
  const text = Array.isArray(value) ? `an array of ${value.length}` : JSON.stringify(String(value))
  return text.length > 80 ? `${text.slice(0, 80)}…` : text
}
