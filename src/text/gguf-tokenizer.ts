/**
 * From a GGUF file's metadata to a tokenizer description: vocabulary, merges or scores, special tokens, how text is cut,
 * the ids that end an answer, and the chat templates.
 *
 *   tokenizer.ggml.model   gpt2     BPE with merges, cut as `tokenizer.ggml.pre` says
 *                          gemma4   the same with Gemma 4's own cutting
 *                          llama    SentencePiece with scores
 *
 * Owns nothing. Knows the keys `tokenizer.*`; knows no file offsets and builds no tokenizer. Other kinds are refused by
 * name. Source: the GGUF specification, and llama.cpp's `src/llama-vocab.cpp` for what absent keys mean.
 */

import { bpeJson } from './bpe-json.ts'
import { endsByText } from './end-tokens.ts'
import { describeValue, quote, textError } from './errors.ts'
import { badField, flagAt, type GgufMetadata, textAt, textsAt } from './gguf-fields.ts'
import { readPieces } from './gguf-pieces.ts'
import {
  type GgufVocabulary,
  idsOfTypes,
  readSpecialIds,
  readVocabulary,
  type SpecialIds,
  specialTexts,
  TOKEN_TYPE,
} from './gguf-vocabulary.ts'
import { PRE_TOKENIZERS } from './pre-tokenizers.ts'
import type { TokenizerDescription, TokenizerModel } from './tokenizer-description.ts'

const MODEL = 'tokenizer.ggml.model'
const MERGES = 'tokenizer.ggml.merges'
const TEMPLATE = 'tokenizer.chat_template'

interface GgufTokenizer {
  readonly vocabulary: GgufVocabulary
  readonly ids: SpecialIds
  readonly model: TokenizerModel
  readonly preTokenizer: string
}

const KINDS: Readonly<Record<string, (metadata: GgufMetadata) => GgufTokenizer>> = {
  gpt2: (metadata) => readBpe(metadata, textAt(metadata, 'tokenizer.ggml.pre') ?? 'default'),
  gemma4: (metadata) => readBpe(metadata, 'gemma4'),
  llama: readSentencePiece,
}

/** False for a file that says it has none, and for one that says nothing of a tokenizer at all: token ids only. */
export function hasGgufTokenizer(metadata: GgufMetadata): boolean {
  const kind = metadata.get(MODEL)
  if (kind === 'none' || kind === 'no_vocab') return false
  return kind !== undefined || metadata.has('tokenizer.ggml.tokens')
}

/**
 * @throws ServingError TEXT_UNSUPPORTED_TOKENIZER, TEXT_UNKNOWN_PRE_TOKENIZER, TEXT_BAD_TOKENIZER
 *
 * Cost: O(vocabulary); about 50 ms for 49,152 tokens.
 */
export function describeGgufTokenizer(metadata: GgufMetadata): TokenizerDescription {
  const kind = metadata.get(MODEL)
  const read = typeof kind === 'string' && Object.hasOwn(KINDS, kind) ? KINDS[kind] : undefined
  if (read === undefined) {
    const expected = Object.keys(KINDS).join(', ')
    const details = { field: MODEL, expected, got: describeValue(kind) }
    throw textError('TEXT_UNSUPPORTED_TOKENIZER', { details })
  }
  const { vocabulary, ids, model, preTokenizer } = read(metadata)
  const { tokens } = vocabulary
  const named = (id: number) => [tokens[id] as string, id] as const
  return {
    model,
    addedTokens: new Map(idsOfTypes(vocabulary, ADDED).map(named)),
    preTokenizer,
    bosTokenId: ids.bos,
    eosTokenId: ids.eos,
    eotTokenId: ids.eot,
    endTokenIds: endTokenIds(vocabulary, ids),
    specialTokens: specialTexts(vocabulary, ids),
    chatTemplates: readChatTemplates(metadata),
  }
}

const SPECIAL = [TOKEN_TYPE.control, TOKEN_TYPE.unknown]
const ADDED = [...SPECIAL, TOKEN_TYPE.userDefined]

function readBpe(metadata: GgufMetadata, preTokenizer: string): GgufTokenizer {
  const pre = PRE_TOKENIZERS.get(preTokenizer)
  if (pre === undefined) {
    const details = { got: quote(preTokenizer), expected: [...PRE_TOKENIZERS.keys()].join(', ') }
    throw textError('TEXT_UNKNOWN_PRE_TOKENIZER', { details })
  }
  const vocabulary = readVocabulary(metadata)
  const ids = readSpecialIds(metadata, vocabulary.tokens.length)
  const json = bpeJson({
    tokens: vocabulary.tokens,
    merges: readMerges(metadata),
    specialIds: idsOfTypes(vocabulary, SPECIAL),
    userDefinedIds: idsOfTypes(vocabulary, [TOKEN_TYPE.userDefined]),
    pre,
    addPrefixSpace: flagAt(metadata, 'tokenizer.ggml.add_space_prefix') ?? false,
    beginId: (flagAt(metadata, 'tokenizer.ggml.add_bos_token') ?? pre.addsBos) ? ids.bos : null,
    endId: flagAt(metadata, 'tokenizer.ggml.add_eos_token') === true ? ids.eos : null,
  })
  return { vocabulary, ids, model: { kind: 'huggingFace', json }, preTokenizer }
}

function readSentencePiece(metadata: GgufMetadata): GgufTokenizer {
  const vocabulary = readVocabulary(metadata)
  // Llama's own, for files that do not say.
  const defaults = { bos: 1, eos: 2, unknown: 0 }
  const ids = readSpecialIds(metadata, vocabulary.tokens.length, defaults)
  const pieces = readPieces(metadata, vocabulary, ids)
  return { vocabulary, ids, model: { kind: 'sentencePiece', pieces }, preTokenizer: 'llama' }
}

/** `left right` → `[left, right]`; the first character may itself be a space. */
function readMerges(metadata: GgufMetadata): [left: string, right: string][] {
  return textsAt(metadata, MERGES).map((merge, rank) => {
    const space = merge.indexOf(' ', 1)
    if (space > 0) return [merge.slice(0, space), merge.slice(space + 1)]
    throw badField(MERGES, 'two tokens and a space between', `${quote(merge)} at ${rank}`)
  })
}

function endTokenIds(vocabulary: GgufVocabulary, ids: SpecialIds): readonly number[] {
  const control = idsOfTypes(vocabulary, [TOKEN_TYPE.control])
  const byText = endsByText(control.map((id) => [vocabulary.tokens[id] as string, id] as const))
  const ends = new Set([ids.eos, ids.eot, ids.eom, ...byText].filter((id) => id !== null))
  return [...ends].sort((a, b) => a - b)
}

/** `tokenizer.chat_template` is the default one; `tokenizer.chat_template.NAME` are further ones, such as `tool_use`. */
function readChatTemplates(metadata: GgufMetadata): Map<string, string> {
  const templates = new Map<string, string>()
  const first = textAt(metadata, TEMPLATE)
  if (first !== undefined && first !== '') templates.set('default', first)
  for (const key of metadata.keys()) {
    if (!key.startsWith(`${TEMPLATE}.`)) continue
    templates.set(key.slice(TEMPLATE.length + 1), textAt(metadata, key) as string)
  }
  return templates
}
