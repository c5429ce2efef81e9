/**
 * Special tokens and chat templates as the files beside a Hugging Face tokenizer name them.
 *
 * Owns nothing. A token is written as a text or as `{ content }`. `special_tokens_map.json` counts where
 * `tokenizer_config.json` is silent. Source: huggingface/transformers, `tokenization_utils_base.py`.
 */

import { badJson, isObject, type JsonObject } from './hf-json.ts'

const SPECIAL_TOKEN_NAMES = ['bos_token', 'eos_token', 'unk_token', 'pad_token'] as const

/** A token outside the ordinary vocabulary. */
export interface AddedToken {
  readonly id: number
  readonly content: string
  readonly isSpecial: boolean
  /** As the file has it, with its stripping rules. */
  readonly written: JsonObject
}

/** Texts by the names that chat templates use; `null` is none. Earlier files go before later ones. */
export function readSpecialTexts(...files: readonly JsonObject[]): Record<string, string> {
  const texts: Record<string, string> = {}
  for (const name of SPECIAL_TOKEN_NAMES) {
    for (const file of files) {
      const value = file[name]
      if (value === undefined || value === null) continue
      const text = isObject(value) ? value.content : value
      if (typeof text !== 'string') throw badJson(name, 'a text or an object with content', value)
      texts[name] ??= text
    }
  }
  return texts
}

/** `added_tokens` of `tokenizer.json`. */
export function readAddedTokens(value: unknown): readonly AddedToken[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) throw badJson('added_tokens', 'an array', value)
  return value.map((token: unknown) => {
    if (!isObject(token)) throw badJson('added_tokens', 'objects', token)
    return addedToken(token.id, token, 'added_tokens[]')
  })
}

/** `added_tokens_decoder` of `tokenizer_config.json`: by id, which is a key of the object. */
export function readAddedTokensDecoder(value: unknown): readonly AddedToken[] {
  if (value === undefined || value === null) return []
  if (!isObject(value)) throw badJson('added_tokens_decoder', 'an object', value)
  return Object.entries(value).map(([key, token]) => {
    if (!isObject(token)) throw badJson('added_tokens_decoder', 'objects', token)
    const id = /^\d{1,9}$/.test(key) ? Number(key) : key
    return addedToken(id, token, 'added_tokens_decoder')
  })
}

function addedToken(id: unknown, token: JsonObject, field: string): AddedToken {
  const { content, special } = token
  if (typeof content !== 'string') throw badJson(`${field}.content`, 'a text', content)
  if (typeof id !== 'number' || !Number.isInteger(id) || id < 0) {
    throw badJson(`${field}.id`, 'a whole number', id)
  }
  return { id, content, isSpecial: special === true, written: token }
}

/** One template, or several as `[{ name, template }]`. */
export function readChatTemplates(value: unknown): Map<string, string> {
  const templates = new Map<string, string>()
  if (value === undefined || value === null) return templates
  const named = typeof value === 'string' ? [{ name: 'default', template: value }] : value
  if (!Array.isArray(named)) throw badJson('chat_template', 'a text or an array', value)
  for (const entry of named) {
    const { name, template } = isObject(entry) ? entry : {}
    if (typeof name !== 'string' || typeof template !== 'string') {
      throw badJson('chat_template[]', 'a name and a template', entry)
    }
    templates.set(name, template)
  }
  return templates
}
