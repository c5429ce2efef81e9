/**
 * The configuration file as a tree that knows where each value stands. YAML 1.2, of which JSON is a part.
 *
 * Owns nothing. Does not know settings or endpoints. A file comes from a person, and may come from anybody:
 *
 * I1 what one character means elsewhere is refused: tags, directives, merge keys, a second document, a key twice.
 * I2 size, nesting and what anchors expand to are bounded, so a small file cannot become a large configuration.
 * I3 every refusal says file, line and column.
 */

import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml'
import type { ServingError } from '../base/errors.ts'
import { configError } from './errors.ts'
import {
  invalid,
  MAX_DEPTH,
  type Place,
  placed,
  refuseHostile,
  shorten,
  tooLarge,
} from './hostile-text.ts'
import { formatBytes } from './option.ts'

export type Scalar = string | number | boolean | null

export interface ScalarNode {
  readonly kind: 'scalar'
  readonly value: Scalar
  /** As written, without quotes. */
  readonly text: string
  readonly at: Place
}

export interface ListNode {
  readonly kind: 'list'
  readonly items: readonly ConfigNode[]
  readonly at: Place
}

export interface MapEntry {
  readonly key: string
  readonly at: Place
  readonly value: ConfigNode
}

export interface MapNode {
  readonly kind: 'map'
  /** In the order of the file. */
  readonly entries: readonly MapEntry[]
  readonly at: Place
}

export type ConfigNode = ScalarNode | ListNode | MapNode

export interface ConfigFile {
  /** As it is shown. */
  readonly path: string
  readonly text: string
}

export const MAX_FILE_BYTES: number = 2 ** 20
const MAX_NODES = 50_000

/** @throws ServingError CONFIG_FILE_INVALID, CONFIG_FILE_TOO_LARGE, CONFIG_DUPLICATE_KEY */
export function parseConfigFile({ path, text }: ConfigFile): MapNode {
  const numBytes = Buffer.byteLength(text)
  if (numBytes > MAX_FILE_BYTES) {
    throw tooLarge(path, formatBytes(MAX_FILE_BYTES), formatBytes(numBytes))
  }
  refuseHostile(path, text)
  const lines = new LineCounter()
  const document = parse(path, text, lines)
  const place = (offset: number): Place => {
    const { line, col } = lines.linePos(offset)
    return { line, column: col }
  }
  const problem = document.errors[0] ?? document.warnings[0]
  if (problem !== undefined) throw invalid(path, place(problem.pos[0]), told(problem.message))
  const root = new Reader(path, place).read(document.contents, 0, 0)
  if (root.kind !== 'map') throw invalid(path, root.at, describeNode(root))
  return root
}

function parse(path: string, text: string, lineCounter: LineCounter) {
  try {
    return parseDocument(text, {
      version: '1.2',
      schema: 'core',
      merge: false,
      // Compared here: the parser's own check compares every key with every other.
      uniqueKeys: false,
      prettyErrors: false,
      // Silence would also keep back that there is a second document.
      logLevel: 'error',
      lineCounter,
    })
  } catch (cause) {
    // Its recursion ends where the stack does.
    if (cause instanceof RangeError) throw tooLarge(path, `${MAX_DEPTH} levels`, 'many more')
    throw invalid(path, { line: 1, column: 1 }, String(cause), cause)
  }
}

class Reader {
  readonly #path: string
  readonly #place: (offset: number) => Place
  readonly #anchors = new Map<string, Node>()
  readonly #open = new Set<Node>()
  #numNodes = 0
  /** Inside an alias, where anchors were seen before. */
  #numAliases = 0

  constructor(path: string, place: (offset: number) => Place) {
    this.#path = path
    this.#place = place
  }

  /** @param offset - of the key or parent, for a value that is not there */
  read(node: Node | null | undefined, offset: number, depth: number): ConfigNode {
    this.#numNodes += 1
    if (this.#numNodes > MAX_NODES) {
      throw tooLarge(this.#path, `${MAX_NODES} values`, 'more, anchors expanded')
    }
    if (depth > MAX_DEPTH) throw tooLarge(this.#path, `${MAX_DEPTH} levels`, 'more')
    if (node === null || node === undefined) {
      return { kind: 'scalar', value: null, text: '', at: this.#place(offset) }
    }
    if (isAlias(node)) return this.#follow(node.source, this.#at(node, offset), depth)
    this.#refuseTag(node)
    const { anchor } = node as { anchor?: string }
    if (anchor !== undefined && this.#numAliases === 0) this.#anchors.set(anchor, node)
    this.#open.add(node)
    const read = this.#readOwn(node, this.#at(node, offset), depth)
    this.#open.delete(node)
    return read
  }

  #readOwn(node: Node, at: Place, depth: number): ConfigNode {
    if (isSeq<Node>(node)) {
      const offset = node.range?.[0] ?? 0
      const items = node.items.map((item) => this.read(item, offset, depth + 1))
      return { kind: 'list', items, at }
    }
    if (isMap<Node, Node | null>(node)) {
      const entries: MapEntry[] = []
      const seen = new Map<string, Place>()
      for (const { key, value } of node.items) {
        const entry = this.#entry(key, value, depth)
        const first = seen.get(entry.key)
        if (first !== undefined) throw duplicate(this.#path, entry, first)
        seen.set(entry.key, entry.at)
        entries.push(entry)
      }
      return { kind: 'map', entries, at }
    }
    if (!isScalar(node)) throw invalid(this.#path, at, 'a value of an unknown kind')
    const { value, source } = node
    return { kind: 'scalar', value: value as Scalar, text: source ?? String(value), at }
  }

  #entry(key: Node, value: Node | null, depth: number): MapEntry {
    const at = this.#at(key, 0)
    const isName = isScalar(key) && typeof key.value === 'string'
    if (!isName) throw invalid(this.#path, at, 'a key that is no text; write a name, or quote it')
    if (key.value === '<<') throw invalid(this.#path, at, 'a merge key (<<), which is not read')
    this.#refuseTag(key)
    const read = this.read(value, key.range?.[0] ?? 0, depth + 1)
    return { key: key.value as string, at, value: read }
  }

  #follow(anchor: string, at: Place, depth: number): ConfigNode {
    const node = this.#anchors.get(anchor)
    if (node === undefined || this.#open.has(node)) {
      const what = node === undefined ? 'that no value before it has' : 'inside its own value'
      throw invalid(this.#path, at, `the anchor *${shorten(anchor)} ${what}`)
    }
    this.#numAliases += 1
    const read = this.read(node, 0, depth + 1)
    this.#numAliases -= 1
    return { ...read, at }
  }

  #refuseTag(node: Node): void {
    const { tag } = node as { tag?: string }
    if (tag === undefined) return
    throw invalid(this.#path, this.#at(node, 0), `the tag ${shorten(tag)}, and tags are not read`)
  }

  #at(node: Node, offset: number): Place {
    return this.#place(node.range?.[0] ?? offset)
  }
}

/** The value without its places; keys keep their order. */
export function plainOf(node: ConfigNode): unknown {
  if (node.kind === 'scalar') return node.value
  if (node.kind === 'list') return node.items.map(plainOf)
  // A key such as `__proto__` becomes a property like any other.
  return Object.fromEntries(node.entries.map(({ key, value }) => [key, plainOf(value)]))
}

/** What a value is, for "got …". */
export function describeNode(node: ConfigNode): string {
  if (node.kind === 'list') return `a list of ${node.items.length}`
  if (node.kind === 'map') return 'a map'
  if (node.value === null) return 'nothing'
  return typeof node.value === 'string' ? JSON.stringify(shorten(node.value)) : shorten(node.text)
}

/** The parser's sentence, without what it quotes of the file. */
function told(message: string): string {
  const sentence = message.split('\n')[0] ?? ''
  return `what is no YAML: ${shorten(sentence)}`
}

function duplicate(path: string, { key, at }: MapEntry, first: Place): ServingError {
  const details = { source: placed(path, at), key: shorten(key), line: first.line }
  return configError('CONFIG_DUPLICATE_KEY', { param: key, details })
}
