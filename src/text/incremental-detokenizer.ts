/**
 * Token ids of one answer, one at a time, to text that will not change any more.
 *
 * Owns at most three bytes: the beginning of a character whose end has not come. Knows no stop strings and no streams.
 *
 * I1 Everything ever returned, `flush` included, joined = all tokens' bytes joined, then decoded as UTF-8 at once: an
 *    invalid byte becomes U+FFFD where that decoding puts it (one a maximal part, as WHATWG and Rust do).
 * I2 A returned piece never ends inside a character.
 *
 *   bytes so far   E4 BD A0 | E5 A5 | …
 *                  returned   held: may still become 好
 *
 * Cost: O(token's bytes) a push, whatever came before.
 */

import type { Tokenizer } from './tokenizer.ts'

export interface DetokenizerOptions {
  /** Leave out special tokens, as answers do. Default true. */
  readonly skipSpecialTokens?: boolean
  /**
   * The first token begins a text instead of continuing a prompt. SentencePiece tokenizers write the beginning of a text
   * with a space that is not part of it; an answer continues its prompt and keeps the space. Default false.
   */
  readonly startsText?: boolean
}

const NOTHING = new Uint8Array(0)
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

export class IncrementalDetokenizer {
  readonly #tokenizer: Tokenizer
  readonly #skipsSpecialTokens: boolean
  #isAtStart: boolean
  #held: Uint8Array = NOTHING

  constructor(tokenizer: Tokenizer, options: DetokenizerOptions = {}) {
    this.#tokenizer = tokenizer
    this.#skipsSpecialTokens = options.skipSpecialTokens ?? true
    this.#isAtStart = options.startsText ?? false
  }

  /** @returns the text that is now certain; often empty for a part of a character */
  push(tokenId: number): string {
    const token = this.#tokenizer.token(tokenId)
    // A half character stays held across a special token, as in decoding at once.
    if (token.isSpecial && this.#skipsSpecialTokens) return ''
    if (this.#isAtStart && token.bytes.length > 0) {
      this.#isAtStart = false
      return this.#pushBytes(this.#tokenizer.firstBytes(token.id))
    }
    if (token.isWhole && this.#held.length === 0) return token.text
    return this.#pushBytes(token.bytes)
  }

  /** The end of the answer: a held part of a character will never be whole and becomes U+FFFD. */
  flush(): string {
    const rest = this.#held
    this.#held = NOTHING
    return rest.length === 0 ? '' : decoder.decode(rest)
  }

  #pushBytes(bytes: Uint8Array): string {
    const known = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes])
    const numCertain = known.length - incompleteTailLength(known)
    // A copy, because `bytes` may be the tokenizer's own.
    this.#held = numCertain === known.length ? NOTHING : known.slice(numCertain)
    return numCertain === 0 ? '' : decoder.decode(known.subarray(0, numCertain))
  }
}

/**
 * Bytes at the end of `bytes` that begin a character and could still become one, 0 … 3.
 *
 * A lead byte starts a new maximal part of invalid UTF-8 whatever is before it, so cutting there changes no U+FFFD.
 * The second byte's range is narrower after E0, ED, F0 and F4. Source: The Unicode Standard, table 3-7.
 */
function incompleteTailLength(bytes: Uint8Array): number {
  const end = bytes.length
  for (let length = 1; length <= 3 && length <= end; length += 1) {
    const byte = bytes[end - length] as number
    if (byte < 0x80) return 0
    if (byte < 0xc0) continue
    const wanted = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2
    if (byte < 0xc2 || byte > 0xf4 || length >= wanted) return 0
    if (length > 1 && !mayFollow(byte, bytes[end - length + 1] as number)) return 0
    return length
  }
  return 0
}

function mayFollow(lead: number, second: number): boolean {
  if (lead === 0xe0) return second >= 0xa0
  if (lead === 0xed) return second < 0xa0
  if (lead === 0xf0) return second >= 0x90
  if (lead === 0xf4) return second < 0x90
  return true
}
