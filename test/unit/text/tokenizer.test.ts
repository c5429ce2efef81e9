import { describe, expect, it } from 'vitest'
import type {
  NativePieces,
  NativeTokenizer,
  NativeTokenizerBuild,
} from '../../../native/binding.ts'
import { createTokenizer, type TokenizerOptions } from '../../../src/text/tokenizer.ts'
import type { TokenizerDescription } from '../../../src/text/tokenizer-description.ts'

const DESCRIPTION: TokenizerDescription = {
  model: { kind: 'huggingFace', json: '{}' },
  addedTokens: new Map([['<s>', 3]]),
  preTokenizer: 'none',
  bosTokenId: 3,
  eosTokenId: null,
  eotTokenId: null,
  endTokenIds: [],
  specialTokens: {},
  chatTemplates: new Map(),
}

/** Knows four tokens and records what it is asked. */
class RecordingNative implements NativeTokenizer {
  readonly vocabSize = 4
  readonly calls: string[]
  readonly #json: string

  constructor(json: string, calls: string[]) {
    if (json === 'bad') throw new Error('no model')
    this.#json = json
    this.calls = calls
  }
  encode(text: string): Int32Array {
    this.calls.push('encode')
    if (text === 'fail') throw new Error(`cannot, with ${this.#json}`)
    return Int32Array.of(text.length)
  }
  async encodeAsync(text: string): Promise<Int32Array> {
    this.calls.push('encodeAsync')
    return Int32Array.of(text.length)
  }
  tokenBytes(id: number): Uint8Array {
    this.calls.push(`bytes ${id}`)
    return (
      [Buffer.from('a'), Buffer.from([0xe5]), Buffer.from('\ufffd'), Buffer.from('<s>')][id] ??
      Buffer.of()
    )
  }
  firstBytes(): Uint8Array {
    return Buffer.of()
  }
  decode(): string {
    return ''
  }
  tokenToId(token: string): number | null {
    return token === '<s>' ? 3 : null
  }
  isSpecial(id: number): boolean {
    return id === 3
  }
}

function make(description: Partial<TokenizerDescription> = {}, options: TokenizerOptions = {}) {
  const calls: string[] = []
  class TokenizerBuild implements NativeTokenizerBuild {
    readonly #json: string
    constructor(json: string) {
      this.#json = json
    }
    static fromPieces(pieces: NativePieces): TokenizerBuild {
      return new TokenizerBuild(pieces.tokens.join())
    }
    finish(): NativeTokenizer {
      return new RecordingNative(this.#json, calls)
    }
  }
  const tokenizer = createTokenizer({ ...DESCRIPTION, ...description }, { TokenizerBuild }, options)
  return { tokenizer, calls }
}

describe('createTokenizer', () => {
  it('says what the native tokenizer says of a bad description', () => {
    expect(() => make({ model: { kind: 'huggingFace', json: 'bad' } })).toThrow(
      expect.objectContaining({ code: 'TEXT_BAD_TOKENIZER' }),
    )
    expect(() => make({ model: { kind: 'huggingFace', json: 'bad' } })).toThrow(/no model/)
  })

  it('refuses a tokenizer that gave an added token another id than the checkpoint states', () => {
    expect(() => make({ addedTokens: new Map([['<s>', 2]]) })).toThrow(
      /id 2 for "<s>".*got number 3/,
    )
    expect(() => make({ addedTokens: new Map([['<x>', 2]]) })).toThrow(/got null/)
  })

  it('refuses end tokens outside the vocabulary', () => {
    expect(() => make({ endTokenIds: [4] })).toThrow(/ids below 4/)
    expect(() => make({ bosTokenId: -1 })).toThrow(/ids below 4/)
  })
})

describe('Tokenizer', () => {
  it('encodes short texts at once and long ones off the event loop', async () => {
    const { tokenizer, calls } = make()
    const options = { addSpecialTokens: false }
    expect(await tokenizer.encode('x'.repeat(256), options)).toEqual(Int32Array.of(256))
    expect(await tokenizer.encode('x'.repeat(257), options)).toEqual(Int32Array.of(257))
    expect(calls).toEqual(['encode', 'encodeAsync'])
  })

  it('refuses a text with more bytes than the limit before tokenizing it', async () => {
    const { tokenizer, calls } = make({}, { maxTextBytes: 10 })
    const options = { addSpecialTokens: false }
    await expect(tokenizer.encode('ä'.repeat(5), options)).resolves.toEqual(Int32Array.of(5))
    await expect(tokenizer.encode(`${'ä'.repeat(5)}x`, options)).rejects.toMatchObject({
      code: 'TEXT_TOO_LONG',
      status: 400,
      details: { limit: 10, got: 11 },
    })
    expect(calls).toEqual(['encode'])
  })

  it('says what failed when the native tokenizer fails on a text', async () => {
    const { tokenizer } = make()
    await expect(tokenizer.encode('fail', { addSpecialTokens: false })).rejects.toMatchObject({
      code: 'TEXT_ENCODE_FAILED',
      status: 500,
    })
  })

  it('tells a text that is too hard to cut from a tokenizer that fails', async () => {
    const { tokenizer } = make({ model: { kind: 'huggingFace', json: 'cutting the text' } })
    await expect(tokenizer.encode('fail', { addSpecialTokens: false })).rejects.toMatchObject({
      code: 'TEXT_TOO_HARD_TO_CUT',
      status: 400,
    })
  })

  it('knows of each token whether its bytes are text on their own', () => {
    const { tokenizer } = make()
    expect([0, 1, 2, 3].map((id) => tokenizer.token(id))).toMatchObject([
      { text: 'a', isWhole: true, isSpecial: false },
      { text: '\ufffd', isWhole: false, isSpecial: false },
      { text: '\ufffd', isWhole: true, isSpecial: false },
      { text: '<s>', isWhole: true, isSpecial: true },
    ])
  })

  it('asks for a token once, but keeps no ids that do not exist', () => {
    const { tokenizer, calls } = make()
    for (const id of [0, 0, -1, -1, 0.5, 99]) tokenizer.tokenBytes(id)
    expect(calls).toEqual(['bytes 0', 'bytes -1', 'bytes -1', 'bytes 0.5', 'bytes 99'])
    expect(tokenizer.tokenBytes(99)).toHaveLength(0)
    expect(tokenizer.tokenText(99)).toBe('')
  })
})
