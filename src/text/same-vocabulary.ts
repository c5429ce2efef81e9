/**
 * Whether two tokenizers give every id the same token: what one model must have for its tokens to mean anything to
 * another. Pure. Cost: O(vocabulary); reads a `tokenizer.json` whole.
 *
 * Compared is the tokens' stored spelling, which is the same in every container that a model is published in.
 */

import type { TokenizerDescription } from './tokenizer-description.ts'

export interface TokenDifference {
  readonly id: number
  readonly first: string
  readonly second: string
}

/** The first id for which both have a token and not the same one; null when there is none. */
export function firstDifference(
  first: TokenizerDescription,
  second: TokenizerDescription,
): TokenDifference | null {
  const [one, other] = [tokensById(first), tokensById(second)]
  for (const [id, token] of one) {
    const counterpart = other.get(id)
    if (counterpart !== undefined && counterpart !== token)
      return { id, first: token, second: counterpart }
  }
  return null
}

function tokensById({ model, addedTokens }: TokenizerDescription): Map<number, string> {
  const tokens =
    model.kind === 'sentencePiece'
      ? new Map(model.pieces.tokens.map((token, id) => [id, token] as const))
      : vocabularyOf(model.json)
  for (const [token, id] of addedTokens) tokens.set(id, token)
  return tokens
}

/** A BPE vocabulary is a map from token to id, one of Unigram a list of pairs; the reader has checked the file. */
function vocabularyOf(json: string): Map<number, string> {
  const { model } = JSON.parse(json) as {
    model?: { vocab?: Readonly<Record<string, number>> | readonly (readonly [string, number])[] }
  }
  const vocab = model?.vocab ?? {}
  return isPairs(vocab)
    ? new Map(vocab.map(([token], id) => [id, token]))
    : new Map(Object.entries(vocab).map(([token, id]) => [id, token]))
}

function isPairs(
  vocab: Readonly<Record<string, number>> | readonly (readonly [string, number])[],
): vocab is readonly (readonly [string, number])[] {
  return Array.isArray(vocab)
}
