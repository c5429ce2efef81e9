/** The native tokenizer itself, on small vocabularies that need no model. */

import { describe, expect, it } from 'vitest'
import { loadNative } from '../../native/loader.ts'
import type { MetadataValue } from '../../src/checkpoint/checkpoint.ts'
import { describeGgufTokenizer } from '../../src/text/gguf-tokenizer.ts'
import { IncrementalDetokenizer } from '../../src/text/incremental-detokenizer.ts'
import { PRE_TOKENIZERS } from '../../src/text/pre-tokenizers.ts'
import { createTokenizer } from '../../src/text/tokenizer.ts'

const binding = loadNative()

/** GPT-2's alphabet in the order of the bytes. */
const ALPHABET = Array.from({ length: 256 }, (_, byte) => {
  const isPrintable = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173)
  if (isPrintable) return String.fromCodePoint(byte)
  const before = byte <= 32 ? byte : byte <= 160 ? byte - 127 + 33 : 67
  return String.fromCodePoint(256 + before)
})

/** Every byte is a token, so any text can be encoded; `merges` make further ones. */
function byteLevel(pre: string, merges: readonly string[], special: readonly string[] = []) {
  const merged = merges.map((merge) => merge.replace(' ', ''))
  const tokens = [...ALPHABET, ...merged, ...special]
  const types = tokens.map((_, id) => (id >= 256 + merged.length ? 3 : 1))
  const metadata = new Map<string, MetadataValue>([
    ['tokenizer.ggml.model', 'gpt2'],
    ['tokenizer.ggml.pre', pre],
    ['tokenizer.ggml.tokens', tokens],
    ['tokenizer.ggml.token_type', types],
    ['tokenizer.ggml.merges', merges],
  ])
  return createTokenizer(describeGgufTokenizer(metadata), binding)
}

/** Tokens are bytes as `<0xNN>` and some texts. */
function byteFallback(pre: string, special: readonly string[]) {
  const bytes = ALPHABET.map((_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`)
  const metadata = new Map<string, MetadataValue>([
    ['tokenizer.ggml.model', 'gpt2'],
    ['tokenizer.ggml.pre', pre],
    ['tokenizer.ggml.tokens', [...bytes, 'l', 'o', 'lo', '\n', '\n\n', '▁', ...special]],
    [
      'tokenizer.ggml.token_type',
      [...bytes.map(() => 6), 1, 1, 1, 1, 1, 1, ...special.map(() => 3)],
    ],
    ['tokenizer.ggml.merges', ['l o', '\n \n']],
  ])
  return createTokenizer(describeGgufTokenizer(metadata), binding)
}

/** As Llama 2 writes it: `▁` for a space, bytes as `<0xNN>`, and a space before the text that decoding takes away. */
const SENTENCE_PIECE = JSON.stringify({
  version: '1.0',
  added_tokens: [
    {
      id: 0,
      content: '<s>',
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    },
  ],
  normalizer: {
    type: 'Sequence',
    normalizers: [
      { type: 'Prepend', prepend: '▁' },
      { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
    ],
  },
  decoder: {
    type: 'Sequence',
    decoders: [
      { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
      { type: 'ByteFallback' },
      { type: 'Fuse' },
      { type: 'Strip', content: ' ', start: 1, stop: 0 },
    ],
  },
  model: {
    type: 'BPE',
    byte_fallback: true,
    fuse_unk: true,
    unk_token: '<s>',
    vocab: Object.fromEntries(
      ['<s>', '▁', 'H', 'i', '▁H', '▁Hi', '<0xE4>', '<0xBD>', '<0xA0>', '▁▁'].map((token, id) => [
        token,
        id,
      ]),
    ),
    merges: [
      ['▁', 'H'],
      ['▁H', 'i'],
      ['▁', '▁'],
    ],
  },
})

const NO_SPECIAL = { addSpecialTokens: false }

describe('native tokenizer', () => {
  it('maps every byte of the alphabet back', () => {
    const tokenizer = byteLevel('gpt-2', [])
    const bytes = Array.from({ length: 256 }, (_, id) => [...tokenizer.tokenBytes(id)])
    expect(bytes).toEqual(Array.from({ length: 256 }, (_, byte) => [byte]))
  })

  it.each([...PRE_TOKENIZERS.keys()])('cuts by %s and loses nothing', async (name) => {
    const isByteLevel = PRE_TOKENIZERS.get(name)?.spelling === 'byteAlphabet'
    const text =
      "Hello  World's 12345 tests!?\r\n\n  你好 ｗorld — naïve\tcamelCase HTTPServer… x=1;\u00a0$5.00 👋🏽  "
    const tokenizer = isByteLevel
      ? byteLevel(name, ['l l', 'Ġ W', '1 2', '12 3'], ['<|end|>'])
      : byteFallback(name, ['<|end|>'])
    const ids = await tokenizer.encode(`${text}<|end|>${text}`, NO_SPECIAL)
    const joined = Buffer.concat([...ids].map((id) => tokenizer.tokenBytes(id))).toString()
    expect(joined).toBe(`${text}<|end|>${text}`)
    expect(ids.filter((id) => tokenizer.isSpecial(id))).toHaveLength(1)
  })

  it('cuts numbers as each cutter wants them', async () => {
    const merges = ['1 2', '12 3', '123 4']
    const numberOfTokens = async (name: string) =>
      (await byteLevel(name, merges).encode('1234', NO_SPECIAL)).length
    expect(await numberOfTokens('smollm')).toBe(4)
    expect(await numberOfTokens('qwen2')).toBe(4)
    expect(await numberOfTokens('llama-bpe')).toBe(2)
    expect(await numberOfTokens('gpt-2')).toBe(1)
  })

  it('puts a begin token before a text only when special tokens are asked for', async () => {
    const metadata = new Map<string, MetadataValue>([
      ['tokenizer.ggml.model', 'gpt2'],
      ['tokenizer.ggml.pre', 'gpt-2'],
      ['tokenizer.ggml.tokens', [...ALPHABET, '<s>', '</s>']],
      ['tokenizer.ggml.token_type', [...ALPHABET.map(() => 1), 3, 3]],
      ['tokenizer.ggml.merges', []],
      ['tokenizer.ggml.bos_token_id', 256],
      ['tokenizer.ggml.eos_token_id', 257],
      ['tokenizer.ggml.add_bos_token', true],
      ['tokenizer.ggml.add_eos_token', true],
    ])
    const tokenizer = createTokenizer(describeGgufTokenizer(metadata), binding)
    expect([...(await tokenizer.encode('a', { addSpecialTokens: true }))]).toEqual([256, 97, 257])
    expect([...(await tokenizer.encode('a', NO_SPECIAL))]).toEqual([97])
    expect([...(await tokenizer.encode('', { addSpecialTokens: true }))]).toEqual([256, 257])
  })

  it('replaces half a surrogate pair, which has no UTF-8', async () => {
    const tokenizer = byteLevel('gpt-2', [])
    const ids = await tokenizer.encode('a\ud83d', NO_SPECIAL)
    expect(tokenizer.decode(ids, { skipSpecialTokens: false })).toBe('a\ufffd')
  })

  it('gives SentencePiece tokens the bytes they have in the middle of a text', () => {
    const tokenizer = new binding.TokenizerBuild(SENTENCE_PIECE).finish()
    const texts = [0, 1, 5, 6, 9, 99].map((id) =>
      Buffer.from(tokenizer.tokenBytes(id)).toString('latin1'),
    )
    expect(texts).toEqual(['<s>', ' ', ' Hi', '\xe4', '  ', ''])
  })

  it('takes the leading space of SentencePiece away at the beginning of a text only', () => {
    const description = {
      model: { kind: 'huggingFace' as const, json: SENTENCE_PIECE },
      addedTokens: new Map([['<s>', 0]]),
      preTokenizer: 'tokenizer.json',
      bosTokenId: 0,
      eosTokenId: null,
      eotTokenId: null,
      endTokenIds: [],
      specialTokens: {},
      chatTemplates: new Map(),
    }
    const tokenizer = createTokenizer(description, binding)
    const ids = [0, 5, 5, 6, 7, 8, 9, 3]
    const whole = new IncrementalDetokenizer(tokenizer, { startsText: true })
    const text = ids.map((id) => whole.push(id)).join('') + whole.flush()
    expect(text).toBe('Hi Hi你  i')
    expect(text).toBe(tokenizer.decode(Int32Array.from(ids), { skipSpecialTokens: true }))
    const answer = new IncrementalDetokenizer(tokenizer)
    expect(answer.push(5)).toBe(' Hi')
  })

  it('cuts and pads no prompt, whatever the file says, and merges the same way every time', () => {
    const json = JSON.parse(SENTENCE_PIECE)
    json.truncation = { direction: 'Right', max_length: 2, strategy: 'LongestFirst', stride: 0 }
    json.padding = {
      strategy: { Fixed: 50 },
      direction: 'Right',
      pad_to_multiple_of: null,
      pad_id: 0,
      pad_type_id: 0,
      pad_token: '<s>',
    }
    json.model.dropout = 0.9
    const tokenizer = new binding.TokenizerBuild(JSON.stringify(json)).finish()
    for (let round = 0; round < 20; round += 1) {
      expect([...tokenizer.encode('Hi Hi Hi', true)]).toEqual([5, 5, 5])
    }
  })

  it('treats ids that are no ids as unknown', () => {
    const tokenizer = new binding.TokenizerBuild(SENTENCE_PIECE).finish()
    const strange = [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31, 2 ** 32, 2 ** 53]
    for (const id of strange) {
      expect([tokenizer.tokenBytes(id).length, tokenizer.isSpecial(id)]).toEqual([0, false])
    }
    expect(tokenizer.decode(Int32Array.of(-1, 2 ** 31 - 1, 5), true)).toBe('Hi')
    expect(tokenizer.tokenToId('nothing')).toBeNull()
  })

  const model = (changes: object) => JSON.stringify({ ...JSON.parse(SENTENCE_PIECE), ...changes })
  it.each([
    ['an empty text', ''],
    ['an array', '[]'],
    ['no model', '{"version":"1.0"}'],
    ['another version', model({ version: '9' })],
    [
      'an empty vocabulary',
      model({ added_tokens: [], model: { type: 'BPE', vocab: {}, merges: [] } }),
    ],
    [
      'a merge of unknown tokens',
      model({ model: { type: 'BPE', vocab: { a: 0 }, merges: [['a', 'b']] } }),
    ],
    ['an id that is no id', model({ model: { type: 'BPE', vocab: { a: -1 }, merges: [] } })],
    [
      'an id beyond 31 bits',
      model({ model: { type: 'BPE', vocab: { a: 4_000_000_000 }, merges: [] } }),
    ],
    ['a decoder that is a number', model({ decoder: 3 })],
    ['a decoder of unknown type', model({ decoder: { type: 'Nothing' } })],
    [
      'a bad regular expression',
      model({
        pre_tokenizer: {
          type: 'Split',
          pattern: { Regex: '(' },
          behavior: 'Isolated',
          invert: false,
        },
      }),
    ],
    [
      'a huge regular expression',
      model({
        pre_tokenizer: {
          type: 'Split',
          pattern: { Regex: '(\\p{L}{1000}){1000}' },
          behavior: 'Isolated',
          invert: false,
        },
      }),
    ],
    [
      'a character map that is none',
      model({ normalizer: { type: 'Precompiled', precompiled_charsmap: 'AAAA' } }),
    ],
    ['nesting without end', '['.repeat(100_000)],
    [
      'nested decoders without end',
      model({}).replace(
        '"decoder":{',
        `"decoder":${'{"type":"Sequence","decoders":['.repeat(5_000)}`,
      ),
    ],
  ])('refuses %s with an error', (_name, json) => {
    expect(() => new binding.TokenizerBuild(json).finish()).toThrow(
      /tokenizer could not read tokenizer.json: ./,
    )
  })

  it('encodes off the event loop many times at once', async () => {
    const tokenizer = byteLevel('gpt-2', ['l l'])
    const texts = Array.from({ length: 50 }, (_, index) => `hello ${index} `.repeat(1_000))
    const lengths = await Promise.all(texts.map((text) => tokenizer.encode(text, NO_SPECIAL)))
    expect(lengths.map((ids) => ids.length)).toEqual(texts.map((text) => text.length - 1_000))
  })
})
