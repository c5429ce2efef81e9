/**
 * Runs one parsed Jinja template inside a budget, because it runs on the event loop and comes from a model's file.
 *
 * Owns the budget of one rendering: steps (one evaluated node), time, and the size of any value in between. Recursion
 * ends in the engine's stack check, which is an error like any other. Knows the globals that transformers gives a chat
 * template; knows nothing of messages.
 *
 * Where the package differs from Jinja in Python, which the templates were written for, this file follows Python: what is
 * printed for `true`, `none` and objects (also by `string` and `~`), `min` and `max`, filters on nothing, keys that are
 * undefined, pairs in a list.
 *
 * What is not bounded: one filter call on texts that are within the limit (it is one step).
 * Source: huggingface/transformers, `utils/chat_template_utils.py`, for globals and whitespace options.
 */

import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja'
import { pythonText, type TemplateValue } from './python-text.ts'
import { strftime } from './strftime.ts'

/** A parsed program; only the interpreter looks inside. */
export type ParsedTemplate = { readonly type: string }

/** What this file uses of the package. Its own declarations import without extensions, so NodeNext resolves none. */
interface JinjaEnvironment {
  set(name: string, value: unknown): unknown
}
type JinjaValue = TemplateValue
/** Its fields by the kind of node; children are nodes too. */
interface JinjaNode {
  readonly type: string
  readonly [field: string]: unknown
}
interface JinjaInterpreter {
  run(program: ParsedTemplate): JinjaValue
  evaluate(node: JinjaNode | undefined, scope: JinjaEnvironment): JinjaValue
  evaluateBlock(statements: readonly JinjaNode[], scope: JinjaEnvironment): JinjaValue
}
const BaseInterpreter: new (environment: JinjaEnvironment) => JinjaInterpreter = Interpreter

export interface TemplateLimits {
  /** Evaluated nodes. */
  readonly maxSteps: number
  readonly maxMs: number
  /** UTF-16 units of any text in between, and of the result. */
  readonly maxChars: number
}

/**
 * 500,000 steps take about 0.4 s. 1,000 messages of SmolLM2's template take 15,000 steps and 8 ms; templates with tools
 * take some five times as many (measured 2026-11-23 on a busy core).
 */
export const DEFAULT_TEMPLATE_LIMITS: TemplateLimits = Object.freeze({
  maxSteps: 500_000,
  maxMs: 1_000,
  maxChars: 4_194_304,
})

/** The template itself called `raise_exception`. */
export class TemplateRefusal extends Error {}

/** The rendering went over a limit; `message` names it. */
export class TemplateBudgetExceeded extends Error {}

/** Longest list `range` may make. */
const MAX_RANGE = 10_000

/** `trim_blocks` and `lstrip_blocks` as transformers sets them. Throws what the parser throws. */
export function parseTemplate(source: string): ParsedTemplate {
  return parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true }))
}

export interface RenderOptions {
  readonly limits: TemplateLimits
  /** Milliseconds since 1970, for `strftime_now`. */
  readonly wallMs: number
  readonly nowMs: () => number
}

/**
 * @throws TemplateRefusal, TemplateBudgetExceeded, or whatever the interpreter throws on a bad operation
 */
export function renderTemplate(
  template: ParsedTemplate,
  variables: Readonly<Record<string, unknown>>,
  options: RenderOptions,
): string {
  const environment: JinjaEnvironment = new Environment()
  for (const [name, value] of Object.entries(globals(options.wallMs))) environment.set(name, value)
  for (const [name, value] of Object.entries(variables)) environment.set(name, value)
  const result = new BoundedInterpreter(environment, options).run(template)
  return String(result.value)
}

class BoundedInterpreter extends BaseInterpreter {
  readonly #limits: TemplateLimits
  readonly #nowMs: () => number
  readonly #deadlineMs: number
  #numSteps = 0

  constructor(environment: JinjaEnvironment, { limits, nowMs }: RenderOptions) {
    super(environment)
    this.#limits = limits
    this.#nowMs = nowMs
    this.#deadlineMs = nowMs() + limits.maxMs
  }

  override evaluate(node: JinjaNode | undefined, scope: JinjaEnvironment): JinjaValue {
    this.#numSteps += 1
    if (this.#numSteps > this.#limits.maxSteps) exceeded(`${this.#limits.maxSteps} steps`)
    // A loop may run long inside one step, so loops always look at the clock.
    if (this.#numSteps % 256 === 0 || node?.type === 'For') {
      if (this.#nowMs() > this.#deadlineMs) exceeded(`${this.#limits.maxMs} ms`)
    }
    const result = node === undefined ? super.evaluate(node, scope) : this.#asPython(node, scope)
    const value = result.value
    if (
      (typeof value === 'string' || Array.isArray(value)) &&
      value.length > this.#limits.maxChars
    ) {
      exceeded(`${this.#limits.maxChars} characters`)
    }
    return result
  }

  /** Jinja prints every expression; what statements give back is no output of theirs. */
  override evaluateBlock(statements: readonly JinjaNode[], scope: JinjaEnvironment): JinjaValue {
    let text = ''
    for (const statement of statements) {
      const value = this.evaluate(statement, scope)
      if (value.type === 'NullValue' && STATEMENTS.has(statement.type)) continue
      text += pythonText(value)
      if (text.length > this.#limits.maxChars) exceeded(`${this.#limits.maxChars} characters`)
    }
    return this.#text(text, scope)
  }

  #asPython(node: JinjaNode, scope: JinjaEnvironment): JinjaValue {
    switch (node.type) {
      case KNOWN:
        return node.result as JinjaValue
      case 'FilterExpression':
        return this.#filter(node, scope)
      case 'BinaryExpression': {
        if ((node.operator as { value?: unknown }).value !== '~') break
        const left = this.evaluate(node.left as JinjaNode, scope)
        const right = this.evaluate(node.right as JinjaNode, scope)
        return this.#text(pythonText(left) + pythonText(right), scope)
      }
      case 'ArrayLiteral': {
        // The package unpacks lists only: `for a, b in [(1, 2)]`.
        const items = (node.value as readonly JinjaNode[]).map((item) =>
          item.type === 'TupleLiteral' ? { ...item, type: 'ArrayLiteral' } : item,
        )
        return super.evaluate({ ...node, value: items }, scope)
      }
      case 'ObjectLiteral':
        return this.#object(node, scope)
      case 'MemberExpression':
        return this.#member(node, scope)
    }
    return super.evaluate(node, scope)
  }

  #filter(node: JinjaNode, scope: JinjaEnvironment): JinjaValue {
    const operand = this.evaluate(node.operand as JinjaNode, scope)
    const filter = node.filter as JinjaNode & { callee?: { value?: unknown } }
    const name = filter.type === 'Identifier' ? filter.value : filter.callee?.value
    const isNothing = operand.type === 'NullValue' || operand.type === 'UndefinedValue'
    if (name === 'string') return this.#text(pythonText(operand), scope)
    if (isNothing && SELECTING.has(name)) {
      return super.evaluate({ type: 'ArrayLiteral', value: [] }, scope)
    }
    if ((name === 'min' || name === 'max') && Array.isArray(operand.value)) {
      const end = { type: 'Identifier', value: name === 'min' ? 'first' : 'last' }
      const sorted = super.evaluate(
        { ...node, operand: known(operand), filter: { type: 'Identifier', value: 'sort' } },
        scope,
      )
      return super.evaluate({ ...node, operand: known(sorted), filter: end }, scope)
    }
    // Jinja's filters take an undefined value for an empty text.
    const isText = operand.type === 'UndefinedValue' && TEXTUAL.has(name)
    const given = isText ? this.#text('', scope) : operand
    return super.evaluate({ ...node, operand: known(given) }, scope)
  }

  /**
   * `object.items` is the method even where there is a key `items`, as in many schemas of tools; `object['items']` is the
   * key. A key that is no text names nothing, a number what a text of its digits names.
   */
  #member(node: JinjaNode, scope: JinjaEnvironment): JinjaValue {
    const property = node.property as JinjaNode
    if (property.type === 'SliceExpression') return super.evaluate(node, scope)
    const object = this.evaluate(node.object as JinjaNode, scope)
    if (node.computed !== true) {
      const method = object.type === 'ObjectValue' ? methodsOf(object).get(property.value) : null
      return method ?? super.evaluate({ ...node, object: known(object) }, scope)
    }
    const key = this.evaluate(property, scope)
    const isText = !(object.value instanceof Map) || key.type === 'StringValue'
    const name = isText ? key : this.#text(pythonText(key), scope)
    return super.evaluate({ ...node, object: known(object), property: known(name) }, scope)
  }

  #object(node: JinjaNode, scope: JinjaEnvironment): JinjaValue {
    const entries = [...(node.value as ReadonlyMap<JinjaNode, JinjaNode>)]
    const named = entries.map(([key, value]) => {
      const name = this.evaluate(key, scope)
      return [known(this.#text(pythonText(name), scope)), value] as const
    })
    return super.evaluate({ ...node, value: new Map(named) }, scope)
  }

  #text(text: string, scope: JinjaEnvironment): JinjaValue {
    return super.evaluate({ type: 'StringLiteral', value: text }, scope)
  }
}

/** A node for a value that is there already. */
const KNOWN = 'Known'

function known(result: JinjaValue): JinjaNode {
  return { type: KNOWN, result }
}

/** Nodes that may stand in a block and are no expressions. */
const STATEMENTS: ReadonlySet<string> = new Set([
  'Set',
  'If',
  'For',
  'Macro',
  'Comment',
  'Break',
  'Continue',
  'CallStatement',
  'FilterStatement',
])

function methodsOf(object: JinjaValue): ReadonlyMap<unknown, JinjaValue> {
  const { builtins } = object as JinjaValue & { builtins?: unknown }
  return builtins instanceof Map ? builtins : new Map()
}

const TEXTUAL: ReadonlySet<unknown> = new Set([
  'trim',
  'lower',
  'upper',
  'title',
  'capitalize',
  'replace',
  'indent',
])

/** Filters that give an empty list for nothing, as Jinja's do. */
const SELECTING: ReadonlySet<unknown> = new Set([
  'select',
  'reject',
  'selectattr',
  'rejectattr',
  'map',
])

function globals(wallMs: number): Record<string, unknown> {
  return {
    true: true,
    false: false,
    none: null,
    True: true,
    False: false,
    None: null,
    range,
    raise_exception: (message: unknown) => {
      throw new TemplateRefusal(String(message))
    },
    strftime_now: (format: unknown) => strftime(String(format), new Date(wallMs)),
  }
}

/** Python's `range`. */
function range(first: number, last?: number, step = 1): number[] {
  const [start, stop] = last === undefined ? [0, first] : [first, last]
  if (![start, stop, step].every(Number.isInteger) || step === 0) {
    throw new Error('range() takes integers and a step that is not 0')
  }
  const length = Math.max(0, Math.ceil((stop - start) / step))
  if (length > MAX_RANGE) exceeded(`a range of ${MAX_RANGE}`)
  return Array.from({ length }, (_, index) => start + index * step)
}

function exceeded(limit: string): never {
  throw new TemplateBudgetExceeded(limit)
}
