/**
 * Building blocks for the bodies' schemas: optional fields that may also be `null`, as OpenAI's clients send them.
 *
 * Each carries `x-expected`, the words of its refusal, and a description for `/openapi.json`. Ranges are OpenAI's where
 * it has the field, vLLM's elsewhere. Owns nothing.
 */

import { type TSchema, Type } from 'typebox'
import { EXPECTED_KEYWORD } from '../../validation-error.ts'

/** Largest count that goes to the native side as 32 bits. */
export const MAX_COUNT: number = 2 ** 31 - 1

export type Fields = Record<string, TSchema>

/** A schema with the words that complete "expected …". */
export function field(expected: string, description: string, schema: object): TSchema {
  return Type.Unsafe({ ...schema, description, [EXPECTED_KEYWORD]: expected })
}

/** minimum ≤ value ≤ maximum, or null. */
export function numberField(minimum: number, maximum: number, description: string): TSchema {
  const expected = `a number from ${minimum} to ${maximum}`
  return Type.Optional(field(expected, description, { type: ['number', 'null'], minimum, maximum }))
}

/** minimum ≤ value ≤ maximum, whole, or null. */
export function integerField(minimum: number, maximum: number, description: string): TSchema {
  const expected = `an integer from ${minimum} to ${maximum}`
  return Type.Optional(
    field(expected, description, { type: ['integer', 'null'], minimum, maximum }),
  )
}

export function booleanField(description: string): TSchema {
  return Type.Optional(field('a boolean', description, { type: ['boolean', 'null'] }))
}
