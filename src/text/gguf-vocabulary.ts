/**
 * The vocabulary of a GGUF file: tokens, what each of them is, and the ids that the metadata gives a meaning.
 *
 * Owns nothing. I1 every id is an index of `tokens`; I2 no two ids have the same text, so text → id → text is exact.
 * Source: the GGUF specification, and llama.cpp's `src/llama-vocab.cpp` for what absent keys mean.
 */

import { describeValue, quote } from './errors.ts'
import { badField, type GgufMetadata, numbersAt, textsAt } from './gguf-fields.ts'

/** Values of `tokenizer.ggml.token_type`. */
export const TOKEN_TYPE = {
  normal: 1,
  unknown: 2,
  control: 3,
  userDefined: 4,
  unused: 5,
  byte: 6,
} as const

const TOKENS = 'tokenizer.ggml.tokens'
const TYPES = 'tokenizer.ggml.token_type'

export interface GgufVocabulary {
  /** Index = id. */
  readonly tokens: readonly string[]
  /** Values of `TOKEN_TYPE`; index = id. All normal when the file is silent. */
  readonly types: readonly number[]
}

export interface SpecialIds {
  readonly bos: number | null
  readonly eos: number | null
  readonly eot: number | null
  readonly eom: number | null
  readonly unknown: number | null
  readonly padding: number | null
}

export function readVocabulary(metadata: GgufMetadata): GgufVocabulary {
  const tokens = readTokens(metadata)
  const types = numbersAt(metadata, TYPES, tokens.length)
  return { tokens, types: types ?? tokens.map(() => TOKEN_TYPE.normal) }
}

/** An empty text is a place that the converter left; it gets a name, as in llama.cpp. */
function readTokens(metadata: GgufMetadata): readonly string[] {
  const texts = textsAt(metadata, TOKENS)
  if (texts.length === 0) throw badField(TOKENS, 'at least one token', 'an empty array')
  const tokens = texts.map((text, id) => (text === '' ? `[EMPTY_${id}]` : text))
  const idOf = new Map<string, number>()
  for (const [id, token] of tokens.entries()) {
    const earlier = idOf.get(token)
    if (earlier !== undefined) {
      throw badField(TOKENS, 'different texts', `${quote(token)} for ids ${earlier} and ${id}`)
    }
    idOf.set(token, id)
  }
  return tokens
}

export function idsOfTypes(
  { types }: GgufVocabulary,
  wanted: readonly number[],
): readonly number[] {
  return types.flatMap((type, id) => (wanted.includes(type) ? [id] : []))
}

/** @param defaults - what a kind of tokenizer means where the file is silent */
export function readSpecialIds(
  metadata: GgufMetadata,
  numTokens: number,
  defaults: Partial<SpecialIds> = {},
): SpecialIds {
  const at = (name: keyof SpecialIds): number | null => {
    const field = `tokenizer.ggml.${name}_token_id`
    const id = metadata.get(field)
    if (id === undefined) {
      const silent = defaults[name] ?? null
      return silent !== null && silent < numTokens ? silent : null
    }
    if (typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < numTokens) return id
    // Written by converters for "none": all bits set.
    if (id === 0xffffffff || id === -1) return null
    throw badField(field, `a token id below ${numTokens}`, describeValue(id))
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

/** By the names that chat templates use. */
export function specialTexts(
  { tokens }: GgufVocabulary,
  ids: SpecialIds,
): Readonly<Record<string, string>> {
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
