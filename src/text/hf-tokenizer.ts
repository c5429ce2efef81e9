/**
 * From a Hugging Face `tokenizer.json` (used as it is) and its `tokenizer_config.json` to a tokenizer description.
 *
 * Owns nothing; reads no files. Checks what it reads itself; whether the parts fit together is the native tokenizer's to
 * say. Source: huggingface/transformers, `tokenization_utils_base.py`, for the keys of `tokenizer_config.json`.
 */

import { endsByText } from './end-tokens.ts'
import { describeValue, reasonOf, textError } from './errors.ts'
import type { TokenizerDescription } from './tokenizer-description.ts'

type JsonObject = Readonly<Record<string, unknown>>

/** Longest `tokenizer.json` in UTF-16 units; the largest in use have about 35 million. */
const MAX_JSON_LENGTH = 134_217_728

const SPECIAL_TOKEN_NAMES = ['bos_token', 'eos_token', 'unk_token', 'pad_token'] as const

export interface HfTokenizerFiles {
  /** Text of `tokenizer.json`. */
  readonly tokenizerJson: string
  /** Text of `tokenizer_config.json`; absent: no begin and end tokens and no chat template are known. */
  readonly tokenizerConfig?: string
  /** `eos_token_id` of `generation_config.json` or `config.json`, which may name several. */
  readonly endTokenIds?: readonly number[]
}

/**
 * @throws ServingError TEXT_BAD_TOKENIZER
 *
 * Cost: one parse of the JSON beside the native one; O(its length).
 */
export function describeHfTokenizer(files: HfTokenizerFiles): TokenizerDescription {
  const root = parseObject(files.tokenizerJson, 'tokenizer.json')
  const config =
    files.tokenizerConfig === undefined
      ? {}
      : parseObject(files.tokenizerConfig, 'tokenizer_config.json')
  const added = readAddedTokens(root.added_tokens)
  const ids = new Map([...added].map(([text, { id }]) => [text, id]))
  const specialTokens = readSpecialTokens(config)
  const idOf = (name: string): number | null => {
    const text = specialTokens[name]
    return text === undefined ? null : (ids.get(text) ?? vocabularyId(root, text))
  }
  const eosTokenId = idOf('eos_token')
  const ends = new Set(files.endTokenIds ?? [])
  if (eosTokenId !== null) ends.add(eosTokenId)
  const special = [...added].filter(([, { isSpecial }]) => isSpecial)
  for (const id of endsByText(special.map(([text, { id }]) => [text, id] as const))) ends.add(id)
  return {
    model: { kind: 'huggingFace', json: files.tokenizerJson },
    addedTokens: ids,
    preTokenizer: 'tokenizer.json',
    bosTokenId: idOf('bos_token'),
    eosTokenId,
    eotTokenId: null,
    endTokenIds: [...ends].sort((a, b) => a - b),
    specialTokens,
    chatTemplates: readChatTemplates(config.chat_template),
  }
}

function readAddedTokens(value: unknown): Map<string, { id: number; isSpecial: boolean }> {
  const added = new Map<string, { id: number; isSpecial: boolean }>()
  if (value === undefined || value === null) return added
  if (!Array.isArray(value)) throw bad('added_tokens', 'an array', value)
  for (const token of value) {
    if (!isObject(token)) throw bad('added_tokens', 'objects', token)
    const { id, content, special } = token
    if (typeof content !== 'string') throw bad('added_tokens[].content', 'a text', content)
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0) {
      throw bad('added_tokens[].id', 'a whole number', id)
    }
    added.set(content, { id, isSpecial: special === true })
  }
  return added
}

/** A special token is a text or `{ content }`; `null` is none. */
function readSpecialTokens(config: JsonObject): Record<string, string> {
  const texts: Record<string, string> = {}
  for (const name of SPECIAL_TOKEN_NAMES) {
    const value = config[name]
    if (value === undefined || value === null) continue
    const text = isObject(value) ? value.content : value
    if (typeof text !== 'string') throw bad(name, 'a text or an object with content', value)
    texts[name] = text
  }
  return texts
}

/** A vocabulary is an object of ids, or (Unigram) an array of `[text, score]`. */
function vocabularyId(root: JsonObject, text: string): number | null {
  const vocab = isObject(root.model) ? root.model.vocab : undefined
  if (Array.isArray(vocab)) {
    const id = vocab.findIndex((entry) => Array.isArray(entry) && entry[0] === text)
    return id < 0 ? null : id
  }
  const id = isObject(vocab) && Object.hasOwn(vocab, text) ? vocab[text] : undefined
  return typeof id === 'number' ? id : null
}

/** One template, or several as `[{ name, template }]`. */
function readChatTemplates(value: unknown): Map<string, string> {
  const templates = new Map<string, string>()
  if (value === undefined || value === null) return templates
  const named = typeof value === 'string' ? [{ name: 'default', template: value }] : value
  if (!Array.isArray(named)) throw bad('chat_template', 'a text or an array', value)
  for (const entry of named) {
    const { name, template } = isObject(entry) ? entry : {}
    if (typeof name !== 'string' || typeof template !== 'string') {
      throw bad('chat_template[]', 'a name and a template', entry)
    }
    templates.set(name, template)
  }
  return templates
}

function parseObject(text: string, file: string): JsonObject {
  if (text.length > MAX_JSON_LENGTH) {
    throw bad(file, `at most ${MAX_JSON_LENGTH} characters`, text.length)
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    const details = { field: file, expected: 'JSON', got: reasonOf(cause) }
    throw textError('TEXT_BAD_TOKENIZER', { details, cause })
  }
  if (!isObject(value)) throw bad(file, 'a JSON object', value)
  return value
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function bad(field: string, expected: string, got: unknown): Error {
  return textError('TEXT_BAD_TOKENIZER', { details: { field, expected, got: describeValue(got) } })
}
