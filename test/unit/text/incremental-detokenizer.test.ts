import { describe, expect, it } from 'vitest'
import { IncrementalDetokenizer } from '../../../src/text/incremental-detokenizer.ts'
import type { Tokenizer } from '../../../src/text/tokenizer.ts'
import { fixedTokenizer } from '../../support/text-fixtures.ts'

/** Pieces for tokens whose bytes are given in hexadecimal, the flush last. */
function pieces(hexTokens: readonly string[], specialIds: readonly number[] = []): string[] {
  const tokenizer = fixedTokenizer(
    hexTokens.map((hex) => Buffer.from(hex.replaceAll(' ', ''), 'hex')),
    specialIds,
  )
  const detokenizer = new IncrementalDetokenizer(tokenizer)
  return [...hexTokens.map((_, id) => detokenizer.push(id)), detokenizer.flush()]
}

describe('IncrementalDetokenizer', () => {
  it('returns whole characters at once and keeps nothing', () => {
    expect(pieces(['48 69', 'e4 bd a0'])).toEqual(['Hi', '你', ''])
  })

  it('waits for the rest of a character', () => {
    expect(pieces(['f0 9f', '91', '8b 21'])).toEqual(['', '', '👋!', ''])
  })

  it('returns what is certain before the part it holds', () => {
    expect(pieces(['41 e5', 'a5 bd 42 c3', 'bc'])).toEqual(['A', '好B', 'ü', ''])
  })

  it('replaces the rest of a character that never came', () => {
    expect(pieces(['41 f0 9f 91'])).toEqual(['A', '\ufffd'])
  })

  it('replaces a part as soon as the next byte shows that it is no character', () => {
    expect(pieces(['e5 a5', '41'])).toEqual(['', '\ufffdA', ''])
  })

  it.each([
    ['a lone continuation byte', 'bd'],
    ['an overlong lead', 'c0'],
    ['a byte that UTF-8 never has', 'ff'],
    ['an overlong second byte', 'e0 80'],
    ['a surrogate', 'ed a0'],
    ['a code point above U+10FFFF', 'f4 90'],
  ])('does not wait after %s', (_name, hex) => {
    const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex')
    expect(pieces([hex])).toEqual([new TextDecoder().decode(bytes), ''])
  })

  it('keeps a byte order mark, which is text here', () => {
    expect(pieces(['ef bb bf 41', 'ef bb bf'])).toEqual(['\ufeffA', '\ufeff', ''])
  })

  it('leaves special tokens out and holds a half character across them', () => {
    expect(pieces(['e5 a5', '3c 73 3e', 'bd'], [1])).toEqual(['', '', '好', ''])
  })

  it('keeps special tokens when told to', () => {
    const tokenizer = fixedTokenizer([Buffer.from('<s>'), Buffer.from('a')], [0])
    const detokenizer = new IncrementalDetokenizer(tokenizer, { skipSpecialTokens: false })
    expect([0, 1].map((id) => detokenizer.push(id))).toEqual(['<s>', 'a'])
  })

  it('asks the tokenizer for the first token of a text, and only for it', () => {
    const sentencePiece: Tokenizer = {
      ...fixedTokenizer([Buffer.from('<s>'), Buffer.from(' Hello'), Buffer.from(' you')], [0]),
      firstBytes: (id) => Buffer.from(id === 1 ? 'Hello' : 'you'),
    }
    const whole = new IncrementalDetokenizer(sentencePiece, { startsText: true })
    expect([0, 1, 2].map((id) => whole.push(id))).toEqual(['', 'Hello', ' you'])
    const answer = new IncrementalDetokenizer(sentencePiece)
    expect([1, 2].map((id) => answer.push(id))).toEqual([' Hello', ' you'])
  })
})
