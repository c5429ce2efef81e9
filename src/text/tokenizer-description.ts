/**
 * What a checkpoint says of its tokenizer, before anything is built: the text of a `tokenizer.json`, the ids that mean
 * something, and the chat templates. Plain data; each checkpoint kind has one reader that makes it.
 */

export interface TokenizerDescription {
  /** Text of a Hugging Face `tokenizer.json`. */
  readonly json: string
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

/**
 * Texts of control tokens that end an answer whatever the metadata says: many files name only one of the several that
 * their model was trained to stop at. Source: llama.cpp, `src/llama-vocab.cpp`, special end-of-generation ids.
 */
export const END_TOKEN_TEXTS: ReadonlySet<string> = new Set([
  '<|eot_id|>',
  '<|eom_id|>',
  '<|im_end|>',
  '<|end|>',
  '<|return|>',
  '<|call|>',
  '<|endoftext|>',
  '<|end_of_text|>',
  '<end_of_turn>',
  '<end_of_utterance>',
  '<eos>',
  '</s>',
  '<EOT>',
  '_<EOT>',
  '[EOT]',
  '[EOS]',
  '<|eot|>',
  '<|eom|>',
  '<|END_OF_TURN_TOKEN|>',
])
