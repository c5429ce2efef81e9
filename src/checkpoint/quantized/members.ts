/**
 * Reads the members of a quantization configuration strictly: each is of the type asked for, and one that nobody asked
 * for is refused at the end, since it may change what the weights are.
 *
 * Owns the set of members that were read. JSON's `null` counts as absent.
 * M1 After `refuseOthers` returns, every member has been read or was allowed by name.
 */

import type { MetadataValue } from '../checkpoint.ts'
import { checkpointError } from '../errors.ts'
import { quote } from '../gguf/metadata.ts'
import type { JsonObject } from '../safetensors/json-text.ts'

export class Members {
  readonly file: string
  readonly path: string
  readonly #values: JsonObject
  readonly #read = new Set<string>()

  /** @param path - of the object, for errors: `quantization_config` */
  constructor(file: string, path: string, values: JsonObject) {
    this.file = file
    this.path = path
    this.#values = values
  }

  value(key: string): MetadataValue | undefined {
    this.#read.add(key)
    return this.#values.get(key) ?? undefined
  }

  integer(key: string, least: number, most: number, fallback?: number): number {
    const value = this.value(key) ?? fallback
    if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) {
      return value
    }
    throw this.refusal(key, value, `a whole number from ${least} to ${most}`)
  }

  flag(key: string, fallback: boolean): boolean {
    const value = this.value(key) ?? fallback
    if (typeof value === 'boolean') return value
    throw this.refusal(key, value, 'true or false')
  }

  /** One of `known`, in any case of letters. */
  choice<T extends string>(key: string, known: readonly T[], fallback?: T): T {
    const value = this.value(key) ?? fallback
    const written = typeof value === 'string' ? value.toLowerCase() : undefined
    const found = known.find((name) => name === written)
    if (found !== undefined) return found
    throw this.refusal(key, value, known.join(' or '))
  }

  texts(key: string): readonly string[] {
    const value = this.value(key) ?? []
    const isTexts = (list: MetadataValue): list is string[] =>
      Array.isArray(list) && list.every((text) => typeof text === 'string')
    if (isTexts(value)) return value
    throw this.refusal(key, value, 'a list of texts')
  }

  /** The members of the object at `key`; `null` when absent or empty. */
  child(key: string): Members | null {
    const value = this.value(key)
    if (value === undefined) return null
    if (!(value instanceof Map)) throw this.refusal(key, value, 'an object')
    return value.size === 0 ? null : new Members(this.file, `${this.path}.${key}`, value)
  }

  keys(): Iterable<string> {
    return this.#values.keys()
  }

  /** May be there as long as it changes nothing: absent, an empty object or list, or one of `neutral`. */
  neutral(key: string, neutral: readonly MetadataValue[] = []): void {
    const value = this.value(key)
    const isEmpty =
      value === undefined ||
      (value instanceof Map && value.size === 0) ||
      (Array.isArray(value) && value.length === 0)
    if (isEmpty || neutral.includes(value)) return
    throw this.refusal(key, value, ['the member absent', ...neutral.map(String)].join(' or '))
  }

  /** @param allowed - members that say nothing about what the weights are */
  refuseOthers(allowed: readonly string[]): void {
    for (const [key, value] of this.#values) {
      if (value === null || this.#read.has(key) || allowed.includes(key)) continue
      throw this.refusal(key, value, 'the member absent')
    }
  }

  refusal(key: string, got: MetadataValue | undefined, expected: string): Error {
    const details = { file: this.file, key: `${this.path}.${key}`, got: shown(got), expected }
    return checkpointError('CHECKPOINT_QUANTIZATION_UNSUPPORTED', { details })
  }
}

/** Configurations are hostile input: a megabyte of one does not belong in a message. */
function shown(value: MetadataValue | undefined): string {
  if (value === undefined) return 'absent'
  if (value instanceof Map) return `an object of ${value.size}`
  return Array.isArray(value) ? `a list of ${value.length}` : quote(String(value))
}
