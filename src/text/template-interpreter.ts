/**
 * Runs one parsed Jinja template inside a budget, because it runs on the event loop and comes from a model's file.
 *
 * Owns the budget of one rendering: steps (one evaluated node), time, and the size of any value in between. Recursion
 * ends in the engine's stack check, which is an error like any other. Knows the globals that transformers gives a chat
 * template; knows nothing of messages.
 *
 * What is not bounded: one filter call on texts that are within the limit (it is one step).
 * Source: huggingface/transformers, `utils/chat_template_utils.py`, for globals and whitespace options.
 */

import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja'
import { strftime } from './strftime.ts'

/** A parsed program; only the interpreter looks inside. */
export type ParsedTemplate = { readonly type: string }

/** What this file uses of the package. Its own declarations import without extensions, so NodeNext resolves none. */
interface JinjaEnvironment {
  set(name: string, value: unknown): unknown
}
interface JinjaValue {
  readonly value: unknown
}
interface JinjaInterpreter {
  run(program: ParsedTemplate): JinjaValue
  evaluate(node: { readonly type: string } | undefined, scope: JinjaEnvironment): JinjaValue
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

  override evaluate(
    node: { readonly type: string } | undefined,
    scope: JinjaEnvironment,
  ): JinjaValue {
    this.#numSteps += 1
    if (this.#numSteps > this.#limits.maxSteps) exceeded(`${this.#limits.maxSteps} steps`)
    // A loop may run long inside one step, so loops always look at the clock.
    if (this.#numSteps % 256 === 0 || node?.type === 'For') {
      if (this.#nowMs() > this.#deadlineMs) exceeded(`${this.#limits.maxMs} ms`)
    }
    const result = super.evaluate(node, scope)
    const value = result.value
    if (
      (typeof value === 'string' || Array.isArray(value)) &&
      value.length > this.#limits.maxChars
    ) {
      exceeded(`${this.#limits.maxChars} characters`)
    }
    return result
  }
}

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
