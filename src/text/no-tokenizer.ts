/**
 * What stands in for a tokenizer where a model has none: ids go in and come out, texts are refused by name.
 *
 * Owns nothing. I1 every token is special and without bytes, so no answer has text; for showing it, a token is
 * `token_id:N`, as in vLLM.
 */

import { textError } from './errors.ts'
import type { Tokenizer } from './tokenizer.ts'

const NO_BYTES = new Uint8Array(0)

/** @param endTokenIds - the model's own, ascending */
export function withoutTokenizer(endTokenIds: readonly number[]): Tokenizer {
  const text = (id: number) => `token_id:${id}`
  return {
    vocabSize: 0,
    bosTokenId: null,
    eosTokenId: null,
    eotTokenId: null,
    endTokenIds,
    encode: async () => {
      throw textError('TEXT_NO_TOKENIZER', { param: 'prompt' })
    },
    token: (id) => ({ id, bytes: NO_BYTES, text: text(id), isWhole: false, isSpecial: true }),
    tokenBytes: () => NO_BYTES,
    firstBytes: () => NO_BYTES,
    tokenText: text,
    tokenId: () => null,
    isSpecial: () => true,
    decode: () => {
      throw textError('TEXT_NO_TOKENIZER', { param: 'echo' })
    },
  }
}

/** @throws ServingError TEXT_NO_TOKENIZER when a model without texts is to stop at one */
export function refuseStops(
  tokenizer: Pick<Tokenizer, 'vocabSize'>,
  stops: readonly string[],
): void {
  if (tokenizer.vocabSize > 0 || stops.length === 0) return
  throw textError('TEXT_NO_TOKENIZER', { param: 'stop' })
}

/** What stands in for the chat template of such a model. */
export const NO_TEMPLATE: { render(): string } = {
  render: () => {
    throw textError('TEXT_NO_TOKENIZER', { param: 'messages' })
  },
}
