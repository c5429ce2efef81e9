/**
 * Text to token ids and back, for the rest of the program: limits, typed errors and a cache of tokens in front of the
 * native tokenizer.
 *
 * Owns the cache: one `Token` per id that was ever asked for. Knows no chat templates and no engine. JavaScript thread
 * only; `encode` of a long text computes on libuv's pool.
 *
 * Special tokens inside a text are recognised wherever they stand, as vLLM and transformers do: a user who writes
 * `<|im_end|>` in a message writes the token, not the letters. Who lets strangers write messages must know that; the
 * roles of a chat are no security boundary.
 */

import type { NativeBinding, NativeTokenizer, NativeTokenizerBuild } from '../../native/binding.ts'
import { describeValue, quote, reasonOf, textError } from './errors.ts'
import type { TokenizerDescription, TokenizerModel } from './tokenizer-description.ts'

/** One token as text. `bytes` may be a part of a character; must not be written to. */
export interface Token {
  readonly id: number
  readonly bytes: Uint8Array
  /** `bytes` as text; what is not UTF-8 is U+FFFD. */
  readonly text: string
  /** `bytes` is UTF-8 on its own, so `text` says it exactly. */
  readonly isWhole: boolean
  /** Steers the model and is not part of an answer's text. */
  readonly isSpecial: boolean
}

export interface EncodeOptions {
  /** Put the tokenizer's own begin and end tokens around the text. False for rendered chats, whose template has them. */
  readonly addSpecialTokens: boolean
}

export interface Tokenizer {
  /** Highest id + 1; 0 for a model that has no tokenizer. */
  readonly vocabSize: number
  readonly bosTokenId: number | null
  readonly eosTokenId: number | null
  readonly eotTokenId: number | null
  /** Every id that ends an answer, ascending. */
  readonly endTokenIds: readonly number[]
  /** @throws ServingError TEXT_TOO_LONG, TEXT_TOO_HARD_TO_CUT, TEXT_ENCODE_FAILED */
  encode(text: string, options: EncodeOptions): Promise<Int32Array>
  /** Cached; an unknown id is a token without bytes. */
  token(id: number): Token
  tokenBytes(id: number): Uint8Array
  /** `tokenBytes` of a token that begins a text: without the space that encoding put before it. */
  firstBytes(id: number): Uint8Array
  /** For showing one token, as in logprobs. */
  tokenText(id: number): string
  tokenId(text: string): number | null
  isSpecial(id: number): boolean
  /** A whole text from its beginning: first bytes, then bytes; invalid UTF-8 is U+FFFD. */
  decode(ids: Int32Array, options: { readonly skipSpecialTokens: boolean }): string
}

export interface TokenizerOptions {
  /**
   * Longest text in bytes of UTF-8. Default 1 MiB: about 250,000 tokens of English. Encoding takes 70 (English) to 500
   * (one endless word) bytes of memory a byte of text while it runs, so the limit is also one of memory; measured
   * 2026-11-23. Who knows the context's length should give less.
   */
  readonly maxTextBytes?: number
}

const DEFAULT_MAX_TEXT_BYTES = 1_048_576

/**
 * Longer texts are encoded off the event loop. At about 1 MB/s (measured 2026-11-23 on a busy core) 256 bytes hold the
 * loop for 0.25 ms, and the way to libuv's pool and back costs 0.05 ms. A request may bring 128 texts at once: at 4 KiB
 * each they held the loop for 0.4 s.
 */
const MAX_SYNC_CHARS = 256

/** Holds no state between calls. A byte order mark is text like any other. */
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

type Build = Pick<NativeBinding, 'TokenizerBuild'>

/**
 * Begin to make a tokenizer on a thread of its own.
 *
 * @returns waits for it. @throws ServingError TEXT_BAD_TOKENIZER when the native tokenizer refuses the description
 *
 * Cost: some 4 µs a token of the vocabulary on that thread, a hundredth of it on this one.
 */
export function beginTokenizer(
  description: TokenizerDescription,
  binding: Build,
  options: TokenizerOptions = {},
): () => Tokenizer {
  const building = attempt(() => begin(description.model, binding))
  return () => {
    const native = attempt(() => building.finish())
    checkIds(native, description)
    return new CachingTokenizer(native, description, options.maxTextBytes ?? DEFAULT_MAX_TEXT_BYTES)
  }
}

/** As `beginTokenizer`, and wait. */
export function createTokenizer(
  description: TokenizerDescription,
  binding: Build,
  options: TokenizerOptions = {},
): Tokenizer {
  return beginTokenizer(description, binding, options)()
}

function attempt<T>(make: () => T): T {
  try {
    return make()
  } catch (cause) {
    const details = { field: 'its parts', expected: 'a tokenizer', got: reasonOf(cause) }
    throw textError('TEXT_BAD_TOKENIZER', { details, cause })
  }
}

function begin(model: TokenizerModel, { TokenizerBuild }: Build): NativeTokenizerBuild {
  return model.kind === 'huggingFace'
    ? new TokenizerBuild(model.json)
    : TokenizerBuild.fromPieces(model.pieces)
}

/** The tokenizer library gives added tokens ids of its own where a file's ids do not follow each other. */
function checkIds(native: NativeTokenizer, description: TokenizerDescription): void {
  for (const [text, id] of description.addedTokens) {
    const got = native.tokenToId(text)
    if (got !== id) throw badIds(`id ${id} for ${quote(text)}`, describeValue(got))
  }
  const { bosTokenId, eosTokenId, eotTokenId, endTokenIds } = description
  for (const id of [bosTokenId, eosTokenId, eotTokenId, ...endTokenIds]) {
    if (id === null || (Number.isInteger(id) && id >= 0 && id < native.vocabSize)) continue
    throw badIds(`ids below ${native.vocabSize}`, describeValue(id))
  }
}

function badIds(expected: string, got: string): Error {
  return textError('TEXT_BAD_TOKENIZER', { details: { field: 'added tokens', expected, got } })
}

class CachingTokenizer implements Tokenizer {
  readonly vocabSize: number
  readonly bosTokenId: number | null
  readonly eosTokenId: number | null
  readonly eotTokenId: number | null
  readonly endTokenIds: readonly number[]
  readonly #native: NativeTokenizer
  readonly #maxTextBytes: number
  /** Grows to the vocabulary at most: unknown ids are not kept. */
  readonly #tokens = new Map<number, Token>()

  constructor(native: NativeTokenizer, description: TokenizerDescription, maxTextBytes: number) {
    this.vocabSize = native.vocabSize
    this.bosTokenId = description.bosTokenId
    this.eosTokenId = description.eosTokenId
    this.eotTokenId = description.eotTokenId
    this.endTokenIds = description.endTokenIds
    this.#native = native
    this.#maxTextBytes = maxTextBytes
  }

  async encode(text: string, { addSpecialTokens }: EncodeOptions): Promise<Int32Array> {
    this.#checkLength(text)
    try {
      return text.length > MAX_SYNC_CHARS
        ? await this.#native.encodeAsync(text, addSpecialTokens)
        : this.#native.encode(text, addSpecialTokens)
    } catch (cause) {
      const reason = reasonOf(cause)
      const details = { bytes: Buffer.byteLength(text), reason }
      // The native tokenizer's own words for its limits of steps and time.
      const isLimit = reason.includes('cutting the text')
      throw textError(isLimit ? 'TEXT_TOO_HARD_TO_CUT' : 'TEXT_ENCODE_FAILED', { details, cause })
    }
  }

  token(id: number): Token {
    const known = this.#tokens.get(id)
    if (known !== undefined) return known
    const bytes = this.#native.tokenBytes(id)
    const text = decoder.decode(bytes)
    const isWhole = Buffer.from(text).equals(bytes)
    const token = { id, bytes, text, isWhole, isSpecial: this.#native.isSpecial(id) }
    if (Number.isInteger(id) && id >= 0 && id < this.vocabSize) this.#tokens.set(id, token)
    return token
  }

  tokenBytes(id: number): Uint8Array {
    return this.token(id).bytes
  }

  firstBytes(id: number): Uint8Array {
    return this.#native.firstBytes(id)
  }

  tokenText(id: number): string {
    return this.token(id).text
  }

  tokenId(text: string): number | null {
    return this.#native.tokenToId(text)
  }

  isSpecial(id: number): boolean {
    return this.token(id).isSpecial
  }

  decode(ids: Int32Array, { skipSpecialTokens }: { readonly skipSpecialTokens: boolean }): string {
    return this.#native.decode(ids, skipSpecialTokens)
  }

  #checkLength(text: string): void {
    const limit = this.#maxTextBytes
    // A UTF-16 unit is one to three bytes of UTF-8, so most texts need no count.
    if (text.length * 3 <= limit) return
    const got = Buffer.byteLength(text)
    if (got > limit) throw textError('TEXT_TOO_LONG', { details: { limit, got } })
  }
}
