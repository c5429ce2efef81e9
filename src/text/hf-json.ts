/** Typed reads of the JSON files beside Hugging Face weights, each an error with the field's name. Owns nothing. */

import { describeValue, reasonOf, textError } from './errors.ts'

export type JsonObject = Readonly<Record<string, unknown>>

/** Longest file in UTF-16 units; the largest `tokenizer.json` in use have about 35 million. */
const MAX_JSON_LENGTH = 134_217_728

/** @throws ServingError TEXT_BAD_TOKENIZER */
export function parseObject(text: string, file: string): JsonObject {
  if (text.length > MAX_JSON_LENGTH) {
    throw badJson(file, `at most ${MAX_JSON_LENGTH} characters`, text.length)
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    const details = { field: file, expected: 'JSON', got: reasonOf(cause) }
    throw textError('TEXT_BAD_TOKENIZER', { details, cause })
  }
  if (!isObject(value)) throw badJson(file, 'a JSON object', value)
  return value
}

/** `null` counts as absent. */
export function optionalFlag(object: JsonObject, name: string): boolean | undefined {
  const value = object[name]
  if (value === undefined || value === null || typeof value === 'boolean') return value ?? undefined
  throw badJson(name, 'true or false', value)
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function badJson(field: string, expected: string, got: unknown): Error {
  return textError('TEXT_BAD_TOKENIZER', { details: { field, expected, got: describeValue(got) } })
}
