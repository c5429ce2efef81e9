/**
 * From the files of a Hugging Face tokenizer to a tokenizer description.
 *
 *   tokenizer.json            used as it is, but for
 *   tokenizer_config.json     special tokens, chat templates, `add_bos_token` and `add_eos_token`, and added tokens that
 *                             the former lacks
 *   special_tokens_map.json   special tokens where the former is silent
 *
 * Owns nothing; reads no files. Checks what it reads itself; whether the parts fit together is the native tokenizer's to
 * say. Source: huggingface/transformers 5, `tokenization_utils_tokenizers.py`.
 */

import { endsByText } from './end-tokens.ts'
import { badJson, isObject, type JsonObject, optionalFlag, parseObject } from './hf-json.ts'
import { alreadySurrounds, postProcessor } from './hf-post-processor.ts'
import {
  type AddedToken,
  readAddedTokens,
  readAddedTokensDecoder,
  readChatTemplates,
  readSpecialTexts,
} from './hf-special-tokens.ts'
import type { TokenizerDescription } from './tokenizer-description.ts'

export interface HfTokenizerFiles {
  /** Text of `tokenizer.json`. */
  readonly tokenizerJson: string
  /** Texts of the files of these names; absent: nothing more is known. */
  readonly tokenizerConfig?: string
  readonly specialTokensMap?: string
  /** `eos_token_id` of `generation_config.json` or `config.json`, which may name several. */
  readonly endTokenIds?: readonly number[]
}

/**
 * @throws ServingError TEXT_BAD_TOKENIZER
 *
 * Cost: one parse of the JSON beside the native one, and one more of each where something must be changed in it.
 */
export function describeHfTokenizer(files: HfTokenizerFiles): TokenizerDescription {
  const root = parseObject(files.tokenizerJson, 'tokenizer.json')
  const config = parseOptional(files.tokenizerConfig, 'tokenizer_config.json')
  const specialTokens = readSpecialTexts(
    config,
    parseOptional(files.specialTokensMap, 'special_tokens_map.json'),
  )
  const present = readAddedTokens(root.added_tokens)
  const missing = missingTokens(root, present, readAddedTokensDecoder(config.added_tokens_decoder))
  const added = [...present, ...missing]
  const ids = new Map(added.map(({ content, id }) => [content, id]))
  const idOf = (text: string | undefined): number | null =>
    text === undefined ? null : (ids.get(text) ?? vocabularyId(root, text))
  const eosTokenId = idOf(specialTokens.eos_token)
  const special = added.filter(({ isSpecial }) => isSpecial)
  const ends = new Set([
    ...(files.endTokenIds ?? []),
    ...(eosTokenId === null ? [] : [eosTokenId]),
    ...endsByText(special.map(({ content, id }) => [content, id] as const)),
  ])
  const changes = {
    ...changedSurroundings(root, config, { specialTokens, idOf }),
    ...(missing.length === 0 ? {} : { added_tokens: withTokens(root, missing) }),
  }
  const isChanged = Object.keys(changes).length > 0
  const json = isChanged ? JSON.stringify({ ...root, ...changes }) : files.tokenizerJson
  return {
    model: { kind: 'huggingFace', json },
    addedTokens: ids,
    preTokenizer: 'tokenizer.json',
    bosTokenId: idOf(specialTokens.bos_token),
    eosTokenId,
    eotTokenId: null,
    endTokenIds: [...ends].sort((a, b) => a - b),
    specialTokens,
    chatTemplates: readChatTemplates(config.chat_template),
  }
}

function parseOptional(text: string | undefined, file: string): JsonObject {
  return text === undefined ? {} : parseObject(text, file)
}

/** Nothing when the file is silent, or says what `tokenizer.json` does anyway. */
function changedSurroundings(
  root: JsonObject,
  config: JsonObject,
  known: {
    readonly specialTokens: Readonly<Record<string, string>>
    readonly idOf: (text: string) => number | null
  },
): { post_processor?: JsonObject } {
  const addsBos = optionalFlag(config, 'add_bos_token')
  const addsEos = optionalFlag(config, 'add_eos_token')
  if (addsBos === undefined && addsEos === undefined) return {}
  const textOf = (flag: boolean | undefined, name: string): string | null => {
    const text = known.specialTokens[name]
    if (flag !== true || text === undefined) return null
    if (known.idOf(text) === null) throw badJson(name, 'a token of the vocabulary', text)
    return text
  }
  const around = { beginText: textOf(addsBos, 'bos_token'), endText: textOf(addsEos, 'eos_token') }
  if (alreadySurrounds(root.post_processor, around)) return {}
  return { post_processor: postProcessor({ ...around, idOf: known.idOf }) }
}

/** Tokens of `tokenizer_config.json` that `tokenizer.json` has not among its added ones; an ordinary one keeps its id. */
function missingTokens(
  root: JsonObject,
  present: readonly AddedToken[],
  wanted: readonly AddedToken[],
): readonly AddedToken[] {
  const known = new Set(present.map(({ content }) => content))
  const missing = wanted.filter(({ content }) => !known.has(content))
  return missing.map((token) => ({ ...token, id: vocabularyId(root, token.content) ?? token.id }))
}

function withTokens(root: JsonObject, missing: readonly AddedToken[]): readonly JsonObject[] {
  const present = Array.isArray(root.added_tokens) ? (root.added_tokens as JsonObject[]) : []
  const sorted = [...missing].sort((a, b) => a.id - b.id)
  return [
    ...present,
    ...sorted.map(({ id, content, isSpecial, written }) => ({
      single_word: written.single_word === true,
      lstrip: written.lstrip === true,
      rstrip: written.rstrip === true,
      normalized: written.normalized === true,
      special: isSpecial,
      content,
      id,
    })),
  ]
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
