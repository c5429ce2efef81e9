import { describe, expect, it } from 'vitest'
import { checkKnownToModel, checkVocabulary } from '../../../src/text/vocabulary-check.ts'

/** Ids 0 … 9 are ordinary, 10 and 11 added; 12 is a hole. */
function tokenizer(change: { vocabSize?: number; bosTokenId?: number | null } = {}) {
  const tokenText = (id: number) => (id === 12 ? '' : `t${id}`)
  return { vocabSize: 12, bosTokenId: null, tokenText, ...change }
}
const added = {
  addedTokens: new Map([
    ['t10', 10],
    ['t11', 11],
    ['t13', 13],
  ]),
}

describe('a tokenizer', () => {
  it('may be smaller than the model, or as large, or have added tokens that the model lacks', () => {
    for (const vocabSize of [100, 12, 11, 10]) {
      expect(checkVocabulary(tokenizer(), added, vocabSize)).toBeUndefined()
    }
    expect(checkVocabulary(tokenizer({ vocabSize: 14 }), added, 10)).toBeUndefined()
  })

  it.each([
    ['an ordinary token', tokenizer(), 9, /below 9, .* tokenizer of 12 whose token "t9" has id 9/],
    ['its begin token', tokenizer({ bosTokenId: 11 }), 11, /"t11" has id 11/],
    ['a highest id from nowhere', tokenizer({ vocabSize: 2 ** 31 - 1 }), 10, /id 2147483646/],
  ])('is refused when %s is beyond the model', (_name, given, vocabSize, text) => {
    const act = () => checkVocabulary(given, added, vocabSize)
    expect(act).toThrow(expect.objectContaining({ code: 'TEXT_TOKENIZER_TOO_LARGE', status: 422 }))
    expect(act).toThrow(text)
  })
})

describe('a text', () => {
  it('is refused with a token that only the tokenizer knows', () => {
    const options = { param: 'prompt', tokenText: (id: number) => `t${id}` }
    expect(checkKnownToModel(Int32Array.of(1, 9), 10, options)).toBeUndefined()
    expect(() => checkKnownToModel(Int32Array.of(1, 10), 10, options)).toThrow(
      expect.objectContaining({
        code: 'TEXT_TOKEN_UNKNOWN_TO_MODEL',
        status: 400,
        param: 'prompt',
      }),
    )
  })
})
