/**
 * From a GGUF file's metadata to a tokenizer description: vocabulary, merges, special tokens, how text is cut, the ids
 * that end an answer, and the chat templates.
 *
 * Owns nothing. Knows the keys `tokenizer.*`; knows no file offsets and builds no tokenizer. Everything is checked
 * before it is used, because a file may say anything:
 * I1 every token id named anywhere is an index of `tokenizer.ggml.tokens`;
 * I2 no two ids have the same text, so text → id → text is exact.
 *
 * Only byte-level BPE (`tokenizer.ggml.model` = `gpt2`) is read; other kinds are refused by name.
 * Source: the GGUF specification, and llama.cpp's `src/llama-vocab.cpp` for what absent keys mean.
 */

import type { MetadataValue } from '../checkpoint/checkpoint.ts'
import { byteLevelJson } from './byte-level-json.ts'
import { describeValue, quote, textError } from './errors.ts'
import { PRE_TOKENIZERS } from './pre-tokenizers.ts'
import { END_TOKEN_TEXTS, type TokenizerDescription } from './tokenizer-description.ts'

type Metadata = ReadonlyMap<string, MetadataValue>

/** Values of `tokenizer.ggml.token_type`. */
const TOKEN_TYPE = { unknown: 2, control: 3, userDefined: 4 } as const

const TOKENS = 'tokenizer.ggml.tokens'
const TEMPLATE = 'tokenizer.chat_template'

/**
 * @returns the description of a byte-level BPE tokenizer
 * @throws ServingError TEXT_UNSUPPORTED_TOKENIZER, TEXT_UNKNOWN_PRE_TOKENIZER, TEXT_BAD_TOKENIZER
 *
 * Cost: O(vocabulary); about 50 ms for 49,152 tokens.
 */
export function describeGgufTokenizer(metadata: Metadata): TokenizerDescription {
  const model = metadata.get('tokenizer.ggml.model')
  if (model !== 'gpt2') {
    const details = { field: 'tokenizer.ggml.model', expected: 'gpt2', got: describeValue(model) }
    throw textError('TEXT_UNSUPPORTED_TOKENIZER', { details })
  }
  const preTokenizer = textAt(metadata, 'tokenizer.ggml.pre') ?? 'default'
  const pre = PRE_TOKENIZERS.get(preTokenizer)
  if (pre === undefined) {
    const details = { got: quote(preTokenizer), expected: [...PRE_TOKENIZERS.keys()].join(', ') }
    throw textError('TEXT_UNKNOWN_PRE_TOKENIZER', { details })
  }
  const tokens = readTokens(metadata)
  const types = readTokenTypes(metadata, tokens.length)
  const ids = readSpecialIds(metadata, tokens.length)
  const specialIds = idsOfTypes(types, [TOKEN_TYPE.control, TOKEN_TYPE.unknown])
  const userDefinedIds = idsOfTypes(types, [TOKEN_TYPE.userDefined])
  const addedIds = [...specialIds, ...userDefinedIds]
  return {
    json: byteLevelJson({
      tokens,
      merges: readMerges(metadata),
      specialIds,
      userDefinedIds,
      pre,
      addPrefixSpace: flagAt(metadata, 'add_space_prefix') ?? false,
      beginId: (flagAt(metadata, 'add_bos_token') ?? pre.addsBos) ? ids.bos : null,
      endId: flagAt(metadata, 'add_eos_token') === true ? ids.eos : null,
    }),
    addedTokens: new Map(addedIds.map((id) => [tokens[id] as string, id])),
    preTokenizer,
    bosTokenId: ids.bos,
    eosTokenId: ids.eos,
    eotTokenId: ids.eot,
    endTokenIds: endTokenIds(tokens, types, ids),
    specialTokens: specialTokens(tokens, ids),
    chatTemplates: readChatTemplates(metadata),
  }
}

interface SpecialIds {
  readonly bos: number | null
  readonly eos: number | null
  readonly eot: number | null
  readonly eom: number | null
  readonly unknown: number | null
  readonly padding: number | null
}

function readSpecialIds(metadata: Metadata, numTokens: number): SpecialIds {
  const at = (name: string): number | null => {
    const field = `tokenizer.ggml.${name}_token_id`
    const id = metadata.get(field)
    if (id === undefined) return null
    if (typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < numTokens) return id
    // Written by converters for "none": all bits set.
    if (id === 0xffffffff || id === -1) return null
    throw bad(field, `a token id below ${numTokens}`, describeValue(id))
  }
  return {
    bos: at('bos'),
    eos: at('eos'),
    eot: at('eot'),
    eom: at('eom'),
    unknown: at('unknown'),
    padding: at('padding'),
  }
}

function readTokens(metadata: Metadata): readonly string[] {
  const tokens = textsAt(metadata, TOKENS)
  if (tokens.length === 0) throw bad(TOKENS, 'at least one token', 'an empty array')
  const idOf = new Map<string, number>()
  for (const [id, token] of tokens.entries()) {
    const earlier = idOf.get(token)
    if (earlier !== undefined) {
      throw bad(TOKENS, 'different texts', `${quote(token)} for ids ${earlier} and ${id}`)
    }
    idOf.set(token, id)
  }
  return tokens
}

/** Absent: all normal. */
function readTokenTypes(metadata: Metadata, numTokens: number): readonly number[] {
  const field = 'tokenizer.ggml.token_type'
  const types = metadata.get(field)
  if (types === undefined) return []
  if (!Array.isArray(types) || !types.every((type) => typeof type === 'number')) {
    throw bad(field, 'an array of numbers', describeValue(types))
  }
  if (types.length !== numTokens) {
    throw bad(field, `${numTokens} entries, one a token`, `${types.length}`)
  }
  return types
}

/** `left right` → `[left, right]`; the first character may itself be a space. */
function readMerges(metadata: Metadata): [left: string, right: string][] {
  const field = 'tokenizer.ggml.merges'
  return textsAt(metadata, field).map((merge, rank) => {
    const space = merge.indexOf(' ', 1)
    if (space < 0) throw bad(field, 'two tokens and a space between', `${quote(merge)} at ${rank}`)
    return [merge.slice(0, space), merge.slice(space + 1)]
  })
}

function idsOfTypes(types: readonly number[], wanted: readonly number[]): readonly number[] {
  return types.flatMap((type, id) => (wanted.includes(type) ? [id] : []))
}

function endTokenIds(
  tokens: readonly string[],
  types: readonly number[],
  ids: SpecialIds,
): readonly number[] {
  const ends = new Set([ids.eos, ids.eot, ids.eom].filter((id) => id !== null))
  for (const [id, type] of types.entries()) {
    if (type === TOKEN_TYPE.control && END_TOKEN_TEXTS.has(tokens[id] as string)) ends.add(id)
  }
  return [...ends].sort((a, b) => a - b)
}

function specialTokens(tokens: readonly string[], ids: SpecialIds): Record<string, string> {
  const named = [
    ['bos_token', ids.bos],
    ['eos_token', ids.eos],
    ['unk_token', ids.unknown],
    ['pad_token', ids.padding],
  ] as const
  const texts: Record<string, string> = {}
  for (const [name, id] of named) if (id !== null) texts[name] = tokens[id] as string
  return texts
}

/** `tokenizer.chat_template` is the default one; `tokenizer.chat_template.NAME` are further ones, such as `tool_use`. */
function readChatTemplates(metadata: Metadata): Map<string, string> {
  const templates = new Map<string, string>()
  const first = textAt(metadata, TEMPLATE)
  if (first !== undefined && first !== '') templates.set('default', first)
  for (const key of metadata.keys()) {
    if (!key.startsWith(`${TEMPLATE}.`)) continue
    templates.set(key.slice(TEMPLATE.length + 1), textAt(metadata, key) as string)
  }
  return templates
}

function textAt(metadata: Metadata, field: string): string | undefined {
  const value = metadata.get(field)
  if (value === undefined || typeof value === 'string') return value
  throw bad(field, 'a text', describeValue(value))
}

function flagAt(metadata: Metadata, name: string): boolean | undefined {
  const field = `tokenizer.ggml.${name}`
  const value = metadata.get(field)
  if (value === undefined || typeof value === 'boolean') return value
  throw bad(field, 'true or false', describeValue(value))
}

function textsAt(metadata: Metadata, field: string): readonly string[] {
  const value = metadata.get(field)
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value
  throw bad(field, 'an array of texts', describeValue(value))
}

function bad(field: string, expected: string, got: string): Error {
  return textError('TEXT_BAD_TOKENIZER', { details: { field, expected, got } })
}
