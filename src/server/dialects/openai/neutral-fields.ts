/**
 * What OpenAI defines and we do not honour: accepted where that changes nothing, refused by name everywhere else.
 *
 * Each row says which values are harmless and why; a null is always one, because it means "not given". The table is
 * also the schema, so `/openapi.json` shows it. Owns nothing.
 *
 * I1 a value passes only if the answer is the same as without it.
 */

import { Type } from 'typebox'
import { unsupported } from '../../errors.ts'
import { type Fields, field } from './fields.ts'

interface NeutralField {
  readonly name: string
  /** Completes "leave it out or send …". */
  readonly neutral: string
  readonly reason: string
  isNeutral(value: unknown): boolean
}

const isString = (value: unknown): boolean => typeof value === 'string'
const isBoolean = (value: unknown): boolean => typeof value === 'boolean'
const isEmptyArray = (value: unknown): boolean => Array.isArray(value) && value.length === 0
const isOneOf =
  (...values: readonly unknown[]): ((value: unknown) => boolean) =>
  (value) =>
    values.includes(value)
const never = (): boolean => false

const MAX_METADATA = 16

function isMetadata(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const values = Object.values(value)
  return values.length <= MAX_METADATA && values.every(isString)
}

function isTextFormat(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  return Object.keys(value).length === 1 && (value as { type?: unknown }).type === 'text'
}

function isTextOnly(value: unknown): boolean {
  return Array.isArray(value) && value.length === 1 && value[0] === 'text'
}

const NOTHING = 'null'

const row = (
  name: string,
  neutral: string,
  isNeutral: (value: unknown) => boolean,
  reason: string,
): NeutralField => ({ name, neutral, isNeutral, reason })

const commonFields: readonly NeutralField[] = [
  row(
    'user',
    'a string',
    isString,
    'names the end user for the provider’s abuse checks; never reaches the model',
  ),
]

export const chatNeutralFields: readonly NeutralField[] = [
  ...commonFields,
  row('safety_identifier', 'a string', isString, 'as user'),
  row(
    'prompt_cache_retention',
    'in_memory',
    isOneOf('in_memory', 'in-memory'),
    'memory is the only place of the cache',
  ),
  row(
    'metadata',
    `an object of at most ${MAX_METADATA} strings`,
    isMetadata,
    'labels stored completions, and none are stored',
  ),
  row('store', 'false', isOneOf(false), 'nothing is stored'),
  row('modalities', '["text"]', isTextOnly, 'answers are text'),
  row('response_format', '{"type": "text"}', isTextFormat, 'answers are text'),
  row('tools', 'an empty array', isEmptyArray, 'no tool is offered'),
  row(
    'tool_choice',
    'none or auto',
    isOneOf('none', 'auto'),
    'without tools both mean that none is called',
  ),
  row('parallel_tool_calls', 'a boolean', isBoolean, 'without tools there are no calls'),
  row('functions', 'an empty array', isEmptyArray, 'no function is offered'),
  row(
    'function_call',
    'none or auto',
    isOneOf('none', 'auto'),
    'without functions both mean that none is called',
  ),
  row('verbosity', 'medium', isOneOf('medium'), 'medium is what a model does by itself'),
  row('reasoning_effort', 'none', isOneOf('none'), 'none is asked of the model'),
  row('audio', NOTHING, never, 'answers are text'),
  row('prediction', NOTHING, never, 'not built'),
  row('web_search_options', NOTHING, never, 'no request leaves this machine'),
  row('moderation', NOTHING, never, 'not built'),
  row('prompt_cache_options', NOTHING, never, 'not built'),
]

export const completionsNeutralFields: readonly NeutralField[] = [
  ...commonFields,
  row('suffix', 'an empty string', isOneOf(''), 'nothing is to be put behind the answer'),
]

export function neutralSchema(fields: readonly NeutralField[]): Fields {
  return Object.fromEntries(
    fields.map(({ name, neutral, reason }) => [
      name,
      Type.Optional(field(neutral, `Only ${neutral}: ${reason}.`, {})),
    ]),
  )
}

/** @throws ServingError SERVER_UNSUPPORTED_PARAMETER for the first field with a value that would change something */
export function refuseUnsupported(body: object, fields: readonly NeutralField[]): void {
  for (const { name, neutral, isNeutral } of fields) {
    const value = (body as Readonly<Record<string, unknown>>)[name] ?? null
    if (value !== null && !isNeutral(value)) throw unsupported(name, neutral)
  }
}
