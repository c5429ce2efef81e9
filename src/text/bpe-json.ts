/**
 * Writes the text of a Hugging Face `tokenizer.json` for a BPE vocabulary with merges, wherever that came from.
 *
 * Owns nothing and checks nothing: its caller has checked the vocabulary, and the native tokenizer refuses merges whose
 * tokens do not exist. Knows no GGUF keys.
 * Source: huggingface/tokenizers, the serialized form of `Tokenizer`, version 1.0.
 */

import { GPT_2_PATTERN, type PreTokenizer } from './pre-tokenizers.ts'

export interface BpeVocabulary {
  /** In the spelling of `pre`, except special and user-defined ones; index = id. No two are equal. */
  readonly tokens: readonly string[]
  /** Most important first. */
  readonly merges: readonly (readonly [left: string, right: string])[]
  /** Found in a text before it is cut; left out of decoded text. Ascending. */
  readonly specialIds: readonly number[]
  /** Found in a text before it is cut; kept in decoded text. Ascending. */
  readonly userDefinedIds: readonly number[]
  readonly pre: PreTokenizer
  /** Put a space before a text that has none. */
  readonly addPrefixSpace: boolean
  /** Put before and after a text that is encoded with special tokens; `null` = nothing. */
  readonly beginId: number | null
  readonly endId: number | null
}

/** Cost: O(vocabulary). */
export function bpeJson(vocabulary: BpeVocabulary): string {
  const { tokens, merges, pre, addPrefixSpace } = vocabulary
  const rest = JSON.stringify({
    version: '1.0',
    added_tokens: addedTokens(vocabulary),
    normalizer: pre.spelling === 'escapedSpaces' ? replace(' ', '▁') : null,
    pre_tokenizer: preTokenizer(pre, addPrefixSpace),
    post_processor: postProcessor(vocabulary),
    decoder: decoder(pre),
  })
  // By hand, because a JavaScript object is no map: a token may be called `__proto__`.
  const vocab = tokens.map((token, id) => `${JSON.stringify(token)}:${id}`).join(',')
  const fallsBack = pre.spelling !== 'byteAlphabet'
  const head = `"type":"BPE","ignore_merges":${pre.ignoresMerges},"byte_fallback":${fallsBack}`
  const model = `{${head},"vocab":{${vocab}},"merges":${JSON.stringify(merges)}}`
  return `${rest.slice(0, -1)},"model":${model}}`
}

function addedTokens({ tokens, specialIds, userDefinedIds }: BpeVocabulary): unknown[] {
  const special = new Set(specialIds)
  const ids = [...specialIds, ...userDefinedIds].sort((a, b) => a - b)
  return ids.map((id) => ({
    id,
    content: tokens[id],
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: special.has(id),
  }))
}

/**
 * A space before the text is added only where the whole cutter is GPT-2's, as transformers does; llama.cpp ignores the
 * wish for byte-level BPE altogether.
 */
function preTokenizer({ cuts, spelling }: PreTokenizer, addPrefixSpace: boolean): unknown {
  const parts = cuts.map((cut, index): unknown => {
    if (cut.kind === 'digits') return { type: 'Digits', individual_digits: true }
    if (cut.kind === 'regex') return split(cut.pattern)
    // `ByteLevel` also maps to the byte alphabet, which only the last part may do.
    if (index < cuts.length - 1) return split(GPT_2_PATTERN)
    return byteLevel({ useRegex: true, addPrefixSpace: addPrefixSpace && cuts.length === 1 })
  })
  if (spelling === 'byteAlphabet' && cuts.at(-1)?.kind !== 'gpt-2') {
    parts.push(byteLevel({ useRegex: false, addPrefixSpace: false }))
  }
  return parts.length === 1 ? parts[0] : { type: 'Sequence', pretokenizers: parts }
}

function decoder({ spelling }: PreTokenizer): unknown {
  if (spelling === 'byteAlphabet') return byteLevel({ useRegex: true, addPrefixSpace: false })
  const spaces = spelling === 'escapedSpaces' ? [replace('▁', ' ')] : []
  return { type: 'Sequence', decoders: [...spaces, { type: 'ByteFallback' }, { type: 'Fuse' }] }
}

function replace(text: string, content: string): unknown {
  return { type: 'Replace', pattern: { String: text }, content }
}

function split(pattern: string): unknown {
  return { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false }
}

function byteLevel(options: { useRegex: boolean; addPrefixSpace: boolean }): unknown {
  return {
    type: 'ByteLevel',
    add_prefix_space: options.addPrefixSpace,
    trim_offsets: true,
    use_regex: options.useRegex,
  }
}

function postProcessor({ tokens, beginId, endId }: BpeVocabulary): unknown {
  if (beginId === null && endId === null) return null
  const begin = beginId === null ? [] : [specialPiece(tokens, beginId)]
  const end = endId === null ? [] : [specialPiece(tokens, endId)]
  const ids = [...new Set([beginId, endId])].filter((id) => id !== null)
  const sequence = (id: 'A' | 'B'): unknown => ({ Sequence: { id, type_id: 0 } })
  return {
    type: 'TemplateProcessing',
    single: [...begin, sequence('A'), ...end],
    pair: [...begin, sequence('A'), sequence('B'), ...end],
    special_tokens: Object.fromEntries(
      ids.map((id) => [tokens[id], { id: tokens[id], ids: [id], tokens: [tokens[id]] }]),
    ),
  }
}

function specialPiece(tokens: readonly string[], id: number): unknown {
  return { SpecialToken: { id: tokens[id], type_id: 0 } }
}
