/**
 * What is refused before a configuration file is parsed, because parsing it would take too long or end the process; and
 * the refusals, each with its place. Linear in the text. Knows no settings.
 */

import { Lexer } from 'yaml'
import type { ServingError } from '../base/errors.ts'
import { configError } from './errors.ts'

/** Both from 1. */
export interface Place {
  readonly line: number
  readonly column: number
}

export const MAX_DEPTH = 32
const MAX_TOKENS = 100_000
/** More than `MAX_DEPTH` levels of eight. */
const MAX_INDENT = 256

/**
 * What takes the parser long is found by the lexer, which is linear and has no recursion. Without it a million brackets
 * take ten seconds, and a million dashes end the process (yaml 2.9.1, Node 20).
 */
export function refuseHostile(path: string, text: string): void {
  let numTokens = 0
  let flowDepth = 0
  let numIndicators = 0
  let line = 1
  let isAtStart = true
  for (const token of new Lexer().lex(text)) {
    const isBreak = token === '\n' || token === '\r\n'
    if (isAtStart && token.startsWith('%')) {
      throw invalid(path, { line, column: 1 }, 'a directive (%), and directives are not read')
    }
    if (token === '[' || token === '{') flowDepth += 1
    else if (token === ']' || token === '}') flowDepth = Math.max(0, flowDepth - 1)
    // `- - a`, `? ? a` and `&a &b c` nest, or repeat, on one line.
    else if (/^[-?:&!*]/.test(token) && flowDepth === 0) numIndicators += 1
    if (flowDepth > MAX_DEPTH || numIndicators > MAX_DEPTH) {
      throw tooLarge(placed(path, { line, column: 1 }), `${MAX_DEPTH} levels`, 'more')
    }
    if (isAtStart && token.length > MAX_INDENT && /^ +$/.test(token)) {
      throw tooLarge(
        placed(path, { line, column: 1 }),
        `${MAX_INDENT} spaces of indentation`,
        'more',
      )
    }
    numTokens += 1
    if (numTokens > MAX_TOKENS) throw tooLarge(path, `${MAX_TOKENS} tokens`, 'more')
    if (isBreak) numIndicators = 0
    line += token.split('\n').length - 1
    isAtStart = isBreak
  }
}

/** `ingot.yaml:3:7`, as editors and terminals open it. */
export function placed(path: string, { line, column }: Place): string {
  return `${path}:${line}:${column}`
}

export function invalid(path: string, at: Place, got: string, cause?: unknown): ServingError {
  return configError('CONFIG_FILE_INVALID', { details: { file: placed(path, at), got }, cause })
}

export function tooLarge(file: string, limit: string, got: string): ServingError {
  return configError('CONFIG_FILE_TOO_LARGE', { details: { file, limit, got } })
}

const MAX_SHOWN = 100

/** A caller's text in a message. */
export function shorten(text: string): string {
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text
}
