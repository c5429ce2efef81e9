/** SentencePiece vocabularies of GGUF files: llama.cpp's ids on a small vocabulary, and bytes back to text. */

import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { loadNative } from '../../native/loader.ts'
import type { MetadataValue } from '../../src/checkpoint/checkpoint.ts'
import { describeGgufTokenizer } from '../../src/text/gguf-tokenizer.ts'
import { IncrementalDetokenizer } from '../../src/text/incremental-detokenizer.ts'
import { createTokenizer } from '../../src/text/tokenizer.ts'
import { seededRandom } from '../support/seeded-random.ts'
import { sentencePieceMetadata } from '../support/sentence-piece.ts'

const { reference, cases } = JSON.parse(
  readFileSync(new URL('../fixtures/sentencepiece-ids.json', import.meta.url), 'utf8'),
) as {
  reference: string
  cases: readonly (Record<'plain' | 'noSpacePrefix' | 'phi3', number[]> & { text: string })[]
}

const binding = loadNative()

function make(changes: Readonly<Record<string, MetadataValue>> = {}) {
  return createTokenizer(describeGgufTokenizer(sentencePieceMetadata(changes)), binding)
}

const VARIANTS = {
  plain: {},
  noSpacePrefix: {
    'tokenizer.ggml.add_space_prefix': false,
    'tokenizer.ggml.add_bos_token': false,
    'tokenizer.ggml.add_eos_token': true,
  },
  phi3: { 'general.name': 'Phi-3 mini' },
} as const

describe(`ids of ${reference}`, () => {
  it.each(['plain', 'noSpacePrefix', 'phi3'] as const)('%s', async (variant) => {
    const tokenizer = make(VARIANTS[variant])
    for (const { text, [variant]: ids } of cases) {
      const got = await tokenizer.encode(text, { addSpecialTokens: true })
      expect([text, [...got]]).toEqual([text, ids])
    }
  })
})

describe('SentencePiece text', () => {
  it('is the text that was encoded, whatever it is, byte by byte and at once', async () => {
    // With the prefix a space comes in behind each user-defined token, as in llama.cpp.
    const tokenizer = make(VARIANTS.noSpacePrefix)
    const random = seededRandom(11)
    for (let round = 0; round < 500; round += 1) {
      const length = 1 + random.below(12)
      const points = Array.from({ length }, () =>
        random.below(random.below(2) === 0 ? 128 : 0xd800),
      )
      const text = String.fromCodePoint(...points).replaceAll('▁', '')
      const ids = await tokenizer.encode(text, { addSpecialTokens: false })
      const detokenizer = new IncrementalDetokenizer(tokenizer, { startsText: true })
      const streamed = [...ids].map((id) => detokenizer.push(id)).join('') + detokenizer.flush()
      expect(streamed).toBe(text)
      expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe(text)
    }
  })

  it('of any ids is the same in a stream and at once', () => {
    const tokenizer = make()
    const random = seededRandom(12)
    for (let round = 0; round < 500; round += 1) {
      const ids = Array.from({ length: 12 }, () => random.below(tokenizer.vocabSize + 2))
      const detokenizer = new IncrementalDetokenizer(tokenizer, { startsText: true })
      const streamed = ids.map((id) => detokenizer.push(id)).join('') + detokenizer.flush()
      const whole = tokenizer.decode(Int32Array.from(ids), { skipSpecialTokens: true })
      expect(streamed).toBe(whole)
    }
  })

  it('keeps the space of a piece in the middle and drops it at the beginning', () => {
    const tokenizer = make()
    const id = tokenizer.tokenId('▁ab') as number
    expect(tokenizer.tokenText(id)).toBe(' ab')
    expect(tokenizer.decode(Int32Array.of(1, id, id), { skipSpecialTokens: true })).toBe('ab ab')
  })
})

describe('a SentencePiece vocabulary', () => {
  it('has control and unknown tokens as special ones, and ends at its own ends', () => {
    const tokenizer = make()
    const special = Array.from({ length: tokenizer.vocabSize }, (_, id) => id)
    const names = special
      .filter((id) => tokenizer.isSpecial(id))
      .map((id) => tokenizer.tokenText(id))
    expect(names).toEqual(['<unk>', '<s>', '</s>', '<|end|>', '<|endoftext|>'])
    expect(tokenizer.endTokenIds.map((id) => tokenizer.tokenText(id))).toEqual([
      '</s>',
      '<|end|>',
      '<|endoftext|>',
    ])
    expect([tokenizer.bosTokenId, tokenizer.eosTokenId]).toEqual([1, 2])
  })

  it('writes unknown where it has no bytes', async () => {
    const changes = {
      'tokenizer.ggml.tokens': ['<unk>', '<s>', '</s>', '▁', 'a'],
      'tokenizer.ggml.scores': [0, 0, 0, -1, -1],
      'tokenizer.ggml.token_type': [2, 3, 3, 1, 1],
    }
    const ids = await make(changes).encode('a你a', { addSpecialTokens: false })
    expect([...ids]).toEqual([3, 4, 0, 4])
  })

  const hostile: readonly [name: string, changes: Record<string, MetadataValue>, text: RegExp][] = [
    ['too few scores', { 'tokenizer.ggml.scores': [0] }, /entries, one a token.*got 1/],
    ['a score that is none', { 'tokenizer.ggml.scores': 'x' }, /array of numbers.*"x"/],
    ['NaN', { 'tokenizer.ggml.scores': Array(287).fill(Number.NaN) }, /NaN for token 0/],
    ['types of texts', { 'tokenizer.ggml.token_type': ['a'] }, /array of numbers/],
    ['a bos beyond the end', { 'tokenizer.ggml.bos_token_id': 287 }, /token id below 287/],
    ['spaces to remove', { 'tokenizer.ggml.remove_extra_whitespaces': true }, /expected false/],
    ['a flag that is none', { 'tokenizer.ggml.add_space_prefix': 1 }, /true or false/],
  ]
  it.each(hostile)('is refused with %s', (_name, changes, text) => {
    expect(() => make(changes)).toThrow(text)
    expect(() => make(changes)).toThrow(expect.objectContaining({ code: 'TEXT_BAD_TOKENIZER' }))
  })

  it('merges a long text in time that grows with its length', async () => {
    const tokenizer = make()
    const start = performance.now()
    const ids = await tokenizer.encode('ab ca'.repeat(100_000), { addSpecialTokens: false })
    expect(ids.length).toBeGreaterThan(100_000)
    expect(performance.now() - start).toBeLessThan(10_000)
  })
})
