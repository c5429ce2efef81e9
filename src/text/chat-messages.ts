/**
 * Canonical chat messages to the objects that chat templates read, as transformers and vLLM shape them.
 *
 * Owns nothing. Knows the field names of templates (`tool_calls`, `tool_call_id`); knows no dialect and no Jinja.
 * - A field that is absent is absent: templates ask `'tool_calls' in message`.
 * - `content: null` becomes an empty text, as in vLLM: many templates join it to other text without asking.
 * - `function.arguments` of a tool call becomes an object: templates write it with `tojson`.
 */

import { describeValue, textError } from './errors.ts'

/** The shape of `ChatMessage` in `deployment/generation.ts`, of which this room may know nothing. */
export interface TemplateChatMessage {
  readonly role: string
  readonly content: string | null
  readonly name?: string
  readonly toolCalls?: readonly unknown[]
  readonly toolCallId?: string
}

export interface MessageLimits {
  readonly maxMessages: number
  /** UTF-16 units of all texts in messages and tools. */
  readonly maxChars: number
}

export const DEFAULT_MESSAGE_LIMITS: MessageLimits = Object.freeze({
  maxMessages: 4_096,
  maxChars: 1_048_576,
})

/** Nesting of tools and tool calls; deeper than any JSON schema in use, shallower than the interpreter's stack. */
const MAX_DEPTH = 64

/**
 * @throws ServingError TEXT_BAD_TOOL_ARGUMENTS with `param` `messages`
 */
export function templateMessages(messages: readonly TemplateChatMessage[]): unknown[] {
  return messages.map(({ role, content, name, toolCalls, toolCallId }, index) => ({
    role,
    content: content ?? '',
    ...(name === undefined ? {} : { name }),
    ...(toolCalls === undefined
      ? {}
      : { tool_calls: toolCalls.map((call) => withParsedArguments(call, index)) }),
    ...(toolCallId === undefined ? {} : { tool_call_id: toolCallId }),
  }))
}

/**
 * Refuse what would cost too much to render, before anything is rendered.
 *
 * @throws ServingError TEXT_MESSAGES_TOO_LARGE with `param` `messages` or `tools`
 */
export function checkMessageSize(
  messages: readonly TemplateChatMessage[],
  tools: readonly unknown[] | null,
  limits: MessageLimits,
): void {
  if (messages.length > limits.maxMessages) {
    throw tooLarge('messages', `${limits.maxMessages} messages`, `${messages.length}`)
  }
  const used = measure(messages, 'messages', limits.maxChars)
  if (tools !== null) measure(tools, 'tools', limits.maxChars - used)
}

/** UTF-16 units of all keys and texts in `value`, plus one a value. */
function measure(value: unknown, field: 'messages' | 'tools', budget: number): number {
  let used = 0
  const visit = (item: unknown, depth: number): void => {
    used += typeof item === 'string' ? item.length + 1 : 1
    if (typeof item === 'object' && item !== null) {
      if (depth > MAX_DEPTH) throw tooLarge(field, `${MAX_DEPTH} levels of nesting`, 'more')
      for (const key of Object.keys(item)) {
        used += key.length
        visit((item as Record<string, unknown>)[key], depth + 1)
        if (used > budget) break
      }
    }
    if (used > budget) throw tooLarge(field, `${budget} characters in all`, 'more')
  }
  visit(value, 0)
  return used
}

function withParsedArguments(call: unknown, index: number): unknown {
  if (!isObject(call) || !isObject(call.function)) return call
  const text = call.function.arguments
  if (typeof text !== 'string') return call
  return { ...call, function: { ...call.function, arguments: parsedArguments(text, index) } }
}

/** An empty text counts as no arguments, as some clients send it for a function without parameters. */
function parsedArguments(text: string, index: number): unknown {
  if (text === '') return {}
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // What the parser says of the place helps nobody who did not write the text by hand.
    throw badArguments(index, text)
  }
  if (!isObject(value) || Array.isArray(value)) throw badArguments(index, value)
  return value
}

function badArguments(index: number, got: unknown): Error {
  const details = { index, got: describeValue(got) }
  return textError('TEXT_BAD_TOOL_ARGUMENTS', { param: 'messages', details })
}

function tooLarge(field: 'messages' | 'tools', limit: string, got: string): Error {
  return textError('TEXT_MESSAGES_TOO_LARGE', { param: field, details: { field, limit, got } })
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
