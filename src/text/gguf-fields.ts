/**
 * Typed reads of a GGUF file's `tokenizer.*` metadata, each an error with the field's name when the file says otherwise.
 *
 * Owns nothing; knows no field's meaning. A file may say anything, so nothing here is trusted before it is checked.
 */

import type { MetadataValue } from '../checkpoint/checkpoint.ts'
import { describeValue, textError } from './errors.ts'

export type GgufMetadata = ReadonlyMap<string, MetadataValue>

export function textAt(metadata: GgufMetadata, field: string): string | undefined {
  const value = metadata.get(field)
  if (value === undefined || typeof value === 'string') return value
  throw badField(field, 'a text', describeValue(value))
}

export function flagAt(metadata: GgufMetadata, field: string): boolean | undefined {
  const value = metadata.get(field)
  if (value === undefined || typeof value === 'boolean') return value
  throw badField(field, 'true or false', describeValue(value))
}

export function textsAt(metadata: GgufMetadata, field: string): readonly string[] {
  const value = metadata.get(field)
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value
  throw badField(field, 'an array of texts', describeValue(value))
}

/** One number a token; `undefined` when the file is silent. */
export function numbersAt(
  metadata: GgufMetadata,
  field: string,
  numTokens: number,
): readonly number[] | undefined {
  const values = metadata.get(field)
  if (values === undefined) return undefined
  if (!Array.isArray(values) || !values.every((value) => typeof value === 'number')) {
    throw badField(field, 'an array of numbers', describeValue(values))
  }
  if (values.length === numTokens) return values
  throw badField(field, `${numTokens} entries, one a token`, `${values.length}`)
}

export function badField(field: string, expected: string, got: string): Error {
  return textError('TEXT_BAD_TOKENIZER', { details: { field, expected, got } })
}
