/**
 * Tokenizer against the model's vocabulary. A smaller tokenizer is usual: the rest of the rows is padding.
 *
 * A larger one is of another model, with one exception: published models have added tokens that a text-only variant
 * has no row for (Gemma 3's image token). Such a tokenizer is taken, and a text with such a token is refused.
 * Owns nothing.
 */

import { quote, textError } from './errors.ts'
import type { Tokenizer } from './tokenizer.ts'
import type { TokenizerDescription } from './tokenizer-description.ts'

/** Far more than any model's tokens for images and sounds. */
const MAX_BEYOND = 65_536

/** @throws ServingError TEXT_TOKENIZER_TOO_LARGE with both sizes */
export function checkVocabulary(
  tokenizer: Pick<Tokenizer, 'vocabSize' | 'tokenText' | 'bosTokenId'>,
  { addedTokens }: Pick<TokenizerDescription, 'addedTokens'>,
  vocabSize: number,
): void {
  const highest = tokenizer.vocabSize - 1
  if (highest < vocabSize) return
  const added = new Set(addedTokens.values())
  const refuse = (id: number): Error => {
    const token = quote(tokenizer.tokenText(id))
    const details = { vocabSize, tokenizerSize: tokenizer.vocabSize, token, id }
    return textError('TEXT_TOKENIZER_TOO_LARGE', { details })
  }
  if (!added.has(highest) || tokenizer.vocabSize - vocabSize > MAX_BEYOND) throw refuse(highest)
  for (let id = vocabSize; id <= highest; id++) {
    const isHole = tokenizer.tokenText(id) === ''
    // Every prompt may begin with the begin token.
    if (!isHole && (!added.has(id) || id === tokenizer.bosTokenId)) throw refuse(id)
  }
}

/** @throws ServingError TEXT_TOKEN_UNKNOWN_TO_MODEL */
export function checkKnownToModel(
  tokenIds: Int32Array,
  vocabSize: number,
  options: { readonly param: string; readonly tokenText: (id: number) => string },
): void {
  const id = tokenIds.find((id) => id >= vocabSize)
  if (id === undefined) return
  const details = { token: quote(options.tokenText(id)), id, vocabSize }
  throw textError('TEXT_TOKEN_UNKNOWN_TO_MODEL', { param: options.param, details })
}
