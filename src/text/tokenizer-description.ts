/**
 * What a checkpoint says of its tokenizer, before anything is built: what the native tokenizer is made from, the ids
 * that mean something, and the chat templates. Plain data; each checkpoint kind has one reader that makes it.
 */

import type { NativePieces } from '../../native/binding.ts'

export type TokenizerModel =
  /** Text of a Hugging Face `tokenizer.json`. */
  | { readonly kind: 'huggingFace'; readonly json: string }
  /** Tokens with scores. */
  | { readonly kind: 'sentencePiece'; readonly pieces: NativePieces }

export interface TokenizerDescription {
  readonly model: TokenizerModel
  /** Tokens outside the ordinary vocabulary with the ids that the checkpoint states; building the tokenizer checks them. */
  readonly addedTokens: ReadonlyMap<string, number>
  /** How text is cut, in the checkpoint's own word; for people. */
  readonly preTokenizer: string
  readonly bosTokenId: number | null
  readonly eosTokenId: number | null
  /** End of a turn, where the checkpoint names one besides `eosTokenId`. */
  readonly eotTokenId: number | null
  /** Every id that ends an answer, ascending, without repeats; holds the two above. */
  readonly endTokenIds: readonly number[]
  /** Texts of special tokens by the names that chat templates use: `bos_token`, `eos_token`, `pad_token`, `unk_token`. */
  readonly specialTokens: Readonly<Record<string, string>>
  /** By name; `default` is the one without a name. Empty for a model without. */
  readonly chatTemplates: ReadonlyMap<string, string>
}
