/** A tokenizer whose tokens are bytes, so that a test can spell any text, also half a character. Id 256 ends an answer. */

import type { Token, Tokenizer } from '../../src/text/tokenizer.ts'

export const END_ID = 256

export class ByteTokenizer implements Tokenizer {
  readonly vocabSize = 257
  readonly bosTokenId = null
  readonly eosTokenId = END_ID
  readonly eotTokenId = null
  readonly endTokenIds = [END_ID]

  encode(text: string): Promise<Int32Array> {
    return Promise.resolve(Int32Array.from(idsOf(text)))
  }

  token(id: number): Token {
    const isSpecial = id === END_ID
    const bytes = isSpecial ? Buffer.from('<end>') : Buffer.of(id)
    const text = new TextDecoder().decode(bytes)
    return { id, bytes, text, isWhole: id < 0x80 || isSpecial, isSpecial }
  }

  tokenBytes(id: number): Uint8Array {
    return this.token(id).bytes
  }

  firstBytes(id: number): Uint8Array {
    return this.token(id).bytes
  }

  tokenText(id: number): string {
    return this.token(id).text
  }

  tokenId(text: string): number | null {
    return text === '<end>' ? END_ID : text.length === 1 ? text.charCodeAt(0) : null
  }

  isSpecial(id: number): boolean {
    return id === END_ID
  }

  decode(ids: Int32Array): string {
    return Buffer.from([...ids].filter((id) => id !== END_ID)).toString('utf8')
  }
}

export function idsOf(text: string): number[] {
  return [...Buffer.from(text)]
}
