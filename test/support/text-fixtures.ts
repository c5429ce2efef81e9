/** What text tests share: the golden file, which is absent on some machines, and a tokenizer without a vocabulary. */

import { existsSync, readFileSync } from 'node:fs'
import type { Token, Tokenizer } from '../../src/text/tokenizer.ts'

export type Available<T> = { readonly value: T } | { readonly missing: string }

export interface GoldenCase {
  readonly id: string
  readonly messages?: readonly { readonly role: string; readonly content: string }[]
  readonly text?: string
  readonly rendered: string
  readonly prompt_ids: readonly number[]
  readonly greedy_ids: readonly number[]
  readonly greedy_text: string
}

/** Prompts and answers of the test model by transformers. Lies beside the repository, not in it. */
export function goldenCases(): Available<readonly GoldenCase[]> {
  const file = new URL('../../../shared/golden/smollm2-135m-q4_1.json', import.meta.url)
  if (!existsSync(file)) return { missing: '../shared/golden is absent' }
  return { value: JSON.parse(readFileSync(file, 'utf8')).cases }
}

/** A tokenizer whose token `i` is `tokens[i]`; it encodes nothing. */
export function fixedTokenizer(
  tokens: readonly Uint8Array[],
  specialIds: readonly number[] = [],
): Tokenizer {
  const entries = tokens.map((bytes, id): Token => {
    const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)
    const isWhole = Buffer.from(text).equals(bytes)
    return { id, bytes, text, isWhole, isSpecial: specialIds.includes(id) }
  })
  const token = (id: number): Token => {
    const entry = entries[id]
    if (entry === undefined) throw new Error(`no token ${id}`)
    return entry
  }
  return {
    vocabSize: tokens.length,
    bosTokenId: null,
    eosTokenId: null,
    eotTokenId: null,
    endTokenIds: [],
    encode: () => Promise.reject(new Error('encodes nothing')),
    token,
    tokenBytes: (id) => token(id).bytes,
    firstBytes: (id) => token(id).bytes,
    tokenText: (id) => token(id).text,
    tokenId: () => null,
    isSpecial: (id) => token(id).isSpecial,
    decode: (ids) => Buffer.concat([...ids].map((id) => token(id).bytes)).toString(),
  }
}
