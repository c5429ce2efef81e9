/**
 * Turns what Ajv says of a body into one sentence that names the parameter as the caller wrote it.
 *
 * Owns nothing. Does not know which route or field it is; a schema may carry `x-expected`, the words that complete
 * "expected …", which is needed where Ajv only knows that no branch of a union fitted.
 */

import type { FastifySchemaValidationError } from 'fastify/types/schema.js'
import type { ServingError } from '../base/errors.ts'
import { invalidValue, serverError, unknownParameter } from './errors.ts'

/** Keyword of our schemas; told to Ajv in `app.ts` so that strict mode accepts it. */
export const EXPECTED_KEYWORD = 'x-expected'

/** Ajv's error under `verbose`. */
interface VerboseError extends FastifySchemaValidationError {
  readonly parentSchema?: Readonly<Record<string, unknown>>
  readonly data?: unknown
}

const MAX_NAME_LENGTH = 120

/** @param errors - Ajv's list, at least one; of a union, its branches come before the union itself */
export function validationError(errors: readonly FastifySchemaValidationError[]): ServingError {
  const list = errors as readonly VerboseError[]
  const error = list.find((one) => expectedOf(one) !== null) ?? (list[0] as VerboseError)
  const path = paramName(error.instancePath)
  const child = (name: unknown): string =>
    shorten(path === '' ? String(name) : `${path}.${String(name)}`)
  if (error.keyword === 'required') {
    const param = child(error.params.missingProperty)
    return serverError('SERVER_MISSING_PARAMETER', {
      param,
      details: { param, expected: childExpectation(error) },
    })
  }
  if (error.keyword === 'additionalProperties') {
    return unknownParameter(child(error.params.additionalProperty))
  }
  if (error.keyword === 'propertyNames' || error.params.propertyName !== undefined) {
    return invalidValue(path, 'keys that are token ids', 'another key')
  }
  if (path === '') {
    return serverError('SERVER_MALFORMED_JSON', {
      details: { reason: `it is ${describe(error.data)}` },
    })
  }
  const expected = expectedOf(error) ?? expectation(error)
  const isType = error.keyword === 'type' || error.keyword === 'anyOf'
  return serverError(isType ? 'SERVER_INVALID_TYPE' : 'SERVER_INVALID_VALUE', {
    param: path,
    details: { param: path, expected, got: describe(error.data) },
  })
}

/** `/messages/0/content/1/type` is `messages[0].content[1].type`. */
export function paramName(instancePath: string): string {
  let name = ''
  for (const raw of instancePath.split('/').slice(1)) {
    const part = raw.replaceAll('~1', '/').replaceAll('~0', '~')
    name += /^\d+$/.test(part) && name !== '' ? `[${part}]` : name === '' ? part : `.${part}`
  }
  return shorten(name)
}

/** What a value is, without repeating a caller's text. */
export function describe(value: unknown): string {
  if (value === null) return 'null'
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (typeof value === 'string') return `a string of length ${value.length}`
  if (Array.isArray(value)) return `an array of length ${value.length}`
  return value === undefined ? 'nothing' : 'an object'
}

function expectedOf(error: VerboseError): string | null {
  const expected = error.parentSchema?.[EXPECTED_KEYWORD]
  return typeof expected === 'string' ? expected : null
}

function childExpectation(error: VerboseError): string {
  const properties = error.parentSchema?.properties as Record<string, unknown> | undefined
  const child = properties?.[String(error.params.missingProperty)]
  const expected = (child as Record<string, unknown> | undefined)?.[EXPECTED_KEYWORD]
  const type = (child as Record<string, unknown> | undefined)?.type
  if (typeof expected === 'string') return expected
  return typeof type === 'string' ? article(type) : 'given'
}

function expectation(error: VerboseError): string {
  const { limit, type, allowedValues, comparison } = error.params
  switch (error.keyword) {
    case 'type':
      return [type]
        .flat()
        .filter((one) => one !== 'null')
        .map((one) => article(String(one)))
        .join(' or ')
    case 'enum':
      return `one of ${(allowedValues as unknown[]).filter((one) => one !== null).join(', ')}`
    case 'minimum':
    case 'maximum':
    case 'exclusiveMinimum':
    case 'exclusiveMaximum':
      return `a number ${String(comparison)} ${String(limit)}`
    case 'minItems':
    case 'maxItems':
      return `${error.keyword === 'minItems' ? 'at least' : 'at most'} ${String(limit)} items`
    case 'minLength':
    case 'maxLength':
      return `${error.keyword === 'minLength' ? 'at least' : 'at most'} ${String(limit)} characters`
    case 'maxProperties':
      return `at most ${String(limit)} entries`
    default:
      return error.message ?? 'another value'
  }
}

function article(type: string): string {
  return /^[aeiou]/.test(type) ? `an ${type}` : `a ${type}`
}

function shorten(name: string): string {
  return name.length <= MAX_NAME_LENGTH ? name : `${name.slice(0, MAX_NAME_LENGTH)}…`
}
