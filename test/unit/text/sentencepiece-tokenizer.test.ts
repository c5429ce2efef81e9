import { describe, expect, it } from 'vitest'
import { ServingError } from '../../../src/base/errors.ts'
import { describeSentencePieceModel } from '../../../src/text/sentencepiece-tokenizer.ts'
import { seededRandom } from '../../support/seeded-random.ts'
import { encodeSentencePiece, type SentencePieceSpec } from '../../support/sentencepiece-writer.ts'

function described(spec: SentencePieceSpec, config: object = {}) {
  return describeSentencePieceModel({
    model: encodeSentencePiece(spec),
    folder: '/m',
    tokenizerConfig: JSON.stringify(config),
    endTokenIds: [2],
  })
}

function pieces(spec: SentencePieceSpec, config: object = {}) {
  const { model } = described(spec, config)
  if (model.kind !== 'sentencePiece') throw new Error('not SentencePiece')
  return model.pieces
}

describe('a folder with tokenizer.model alone', () => {
  it('has the pieces of the file, its begin token, and ends where it says', () => {
    const description = described({})
    expect(description).toMatchObject({
      preTokenizer: 'tokenizer.model',
      bosTokenId: 1,
      eosTokenId: 2,
      endTokenIds: [2],
      specialTokens: { bos_token: '<s>', eos_token: '</s>', unk_token: '<unk>' },
    })
    expect(pieces({})).toEqual({
      tokens: ['<unk>', '<s>', '</s>', '▁', 'a', '▁a', '  '],
      scores: Float32Array.of(0, 0, 0, -1, -2, -1, 0),
      kinds: Uint8Array.of(2, 3, 3, 1, 1, 1, 4),
      spacePrefix: 'afterTokens',
      beginId: 1,
      unknownId: 0,
      rightStrippingIds: [],
    })
  })

  it('adds what the configuration adds, and takes its word for spaces and begin tokens', () => {
    const config = {
      legacy: false,
      add_bos_token: false,
      add_eos_token: true,
      eos_token: '<|im_end|>',
      added_tokens_decoder: {
        7: { content: '<|im_end|>', special: true },
        8: { content: '<think>', special: false },
      },
    }
    const made = pieces({}, config)
    expect(made.tokens.slice(7)).toEqual(['<|im_end|>', '<think>'])
    expect([...made.kinds.slice(7)]).toEqual([3, 4])
    expect([made.spacePrefix, made.beginId, made.endId]).toEqual(['first', undefined, 7])
    expect(described({}, config).endTokenIds).toEqual([2, 7])
    expect(pieces({ addsDummyPrefix: false }).spacePrefix).toBe('never')
  })

  it.each([
    [{ modelType: 1 }, 'it is SentencePiece Unigram'],
    [{ charsMap: Buffer.from('abcd') }, 'it normalises characters'],
    [{ removesExtraSpaces: true }, 'it removes spaces'],
  ])('is refused with the command that helps when it is %j', (spec, reason) => {
    const act = () => described(spec)
    expect(act).toThrow(expect.objectContaining({ code: 'TEXT_NEEDS_TOKENIZER_JSON', status: 422 }))
    expect(act).toThrow(reason)
    expect(act).toThrow("A.from_pretrained('/m').save_pretrained('/m')")
  })

  it('refuses added tokens that leave a hole', () => {
    const added_tokens_decoder = { 9: { content: 'x', special: true } }
    expect(() => described({}, { added_tokens_decoder })).toThrow(/ids that follow 6.*number 9/)
  })

  it('survives 2,000 mutations of the file', () => {
    const original = encodeSentencePiece({})
    let numRead = 0
    for (let seed = 1; seed <= 2_000; seed += 1) {
      const random = seededRandom(seed)
      const model = Buffer.from(original.subarray(0, original.length - random.below(3)))
      for (let edit = 0; edit <= random.below(4); edit += 1) {
        model[random.below(model.length)] = random.below(256)
      }
      try {
        describeSentencePieceModel({ model, folder: '/m' })
        numRead += 1
      } catch (error) {
        if (!(error instanceof ServingError)) throw new Error(`seed ${seed}`, { cause: error })
      }
    }
    expect(numRead).toBeGreaterThan(100)
    expect(numRead).toBeLessThan(1_900)
  })
})
