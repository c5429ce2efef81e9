/**
 * Reads the keys of one map of the configuration file: each with its kind, and afterwards whatever no one asked for.
 *
 * Collects what is wrong instead of throwing, so that a person hears everything at once; what was wrong reads as absent.
 * Remembers where each value stands, by its path. Knows no key itself.
 *
 * I1 a key that nobody took is a problem, named with the nearest one that was asked for.
 */

import type { ServingError } from '../base/errors.ts'
import {
  type ConfigNode,
  describeNode,
  type ListNode,
  type MapEntry,
  type MapNode,
} from './document.ts'
import { configError } from './errors.ts'
import type { FieldKind } from './field-kinds.ts'
import { type Place, placed } from './hostile-text.ts'
import { didYouMean } from './nearest.ts'

/** Of one file, shared by all its readers. */
export interface ReadContext {
  readonly file: string
  /** Where unknown keys are explained. */
  readonly docs: string
  readonly problems: ServingError[]
  /** By path, such as `endpoints.chat.variants[0].digest`. */
  readonly places: Map<string, Place>
}

export class MapReader {
  readonly path: string
  readonly at: Place
  readonly #context: ReadContext
  readonly #entries: ReadonlyMap<string, MapEntry>
  readonly #taken = new Set<string>()

  constructor(node: MapNode, path: string, context: ReadContext) {
    this.path = path
    this.at = node.at
    this.#context = context
    this.#entries = new Map(node.entries.map((entry) => [entry.key, entry]))
  }

  /** `undefined` when the key is absent, empty, or its value was a problem. */
  read<T>(key: string, kind: FieldKind<T>): T | undefined {
    const node = this.take(key)
    return node === undefined ? undefined : readScalar(node, this.#pathOf(key), kind, this.#context)
  }

  /** A list of scalars; one scalar counts as a list of one. */
  readList<T>(key: string, kind: FieldKind<T>): readonly T[] | undefined {
    const node = this.take(key)
    if (node === undefined) return undefined
    const path = this.#pathOf(key)
    if (node.kind === 'scalar') {
      const one = readScalar(node, path, kind, this.#context)
      return one === undefined ? undefined : [one]
    }
    if (node.kind === 'map') {
      report(this.#context, node, path, `a list, each ${kind.expected}`)
      return undefined
    }
    return node.items.flatMap(
      (item, at) => readScalar(item, `${path}[${at}]`, kind, this.#context) ?? [],
    )
  }

  readMap(key: string): MapReader | undefined {
    const node = this.take(key)
    return node === undefined ? undefined : readMap(node, this.#pathOf(key), this.#context)
  }

  /** The value as it is; `undefined` when it is absent or empty. */
  take(key: string): ConfigNode | undefined {
    this.#taken.add(key)
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    const { value } = entry
    this.#context.places.set(this.#pathOf(key), value.at)
    return value.kind === 'scalar' && value.value === null ? undefined : value
  }

  /** Every entry, for maps whose keys are names; each counts as taken. */
  names(): readonly MapEntry[] {
    const entries = [...this.#entries.values()]
    for (const { key, at } of entries) {
      this.#taken.add(key)
      this.#context.places.set(this.#pathOf(key), at)
    }
    return entries
  }

  /** Report what nobody took (I1). */
  finish(): void {
    const { file, docs, problems } = this.#context
    for (const { key, at } of this.#entries.values()) {
      if (this.#taken.has(key)) continue
      const path = this.#pathOf(key)
      const hint = didYouMean(key, [...this.#taken])
      const details = { source: placed(file, at), key: path, hint, docs }
      problems.push(configError('CONFIG_UNKNOWN_KEY', { param: path, details }))
    }
  }

  #pathOf(key: string): string {
    return this.path === '' ? key : `${this.path}.${key}`
  }
}

export function readMap(
  node: ConfigNode,
  path: string,
  context: ReadContext,
): MapReader | undefined {
  // The key's place, where the map has a name.
  if (!context.places.has(path)) context.places.set(path, node.at)
  if (node.kind === 'map') return new MapReader(node, path, context)
  report(context, node, path, 'a map')
  return undefined
}

/** @returns `undefined` when it is no list; then that is a problem */
export function readItems(
  node: ConfigNode,
  path: string,
  context: ReadContext,
): ListNode['items'] | undefined {
  if (node.kind === 'list') return node.items
  report(context, node, path, 'a list')
  return undefined
}

function readScalar<T>(
  node: ConfigNode,
  path: string,
  kind: FieldKind<T>,
  context: ReadContext,
): T | undefined {
  context.places.set(path, node.at)
  const value = node.kind === 'scalar' ? kind.parse(node) : undefined
  if (value === undefined) report(context, node, path, kind.expected)
  return value
}

function report(context: ReadContext, node: ConfigNode, path: string, expected: string): void {
  const got = describeNode(node)
  const source = placed(context.file, node.at)
  const details = { source, key: path, expected, got, hint: '' }
  context.problems.push(configError('CONFIG_BAD_VALUE', { param: path, details }))
}
