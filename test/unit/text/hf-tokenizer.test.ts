import { describe, expect, it } from 'vitest'
import { describeHfTokenizer } from '../../../src/text/hf-tokenizer.ts'

const TOKENIZER = JSON.stringify({
  added_tokens: [
    { id: 5, content: '<|im_end|>', special: true },
    { id: 6, content: '<think>', special: false },
  ],
  model: { type: 'BPE', vocab: { '<s>': 0, a: 1 } },
})

function described(config: unknown) {
  return describeHfTokenizer({ tokenizerJson: TOKENIZER, tokenizerConfig: JSON.stringify(config) })
}

describe('describeHfTokenizer', () => {
  it('takes the JSON as it is and finds the ids of special tokens', () => {
    const chat = 'template'
    const config = {
      bos_token: '<s>',
      eos_token: { content: '<|im_end|>' },
      pad_token: null,
      chat_template: chat,
    }
    expect(described(config)).toEqual({
      model: { kind: 'huggingFace', json: TOKENIZER },
      addedTokens: new Map([
        ['<|im_end|>', 5],
        ['<think>', 6],
      ]),
      preTokenizer: 'tokenizer.json',
      bosTokenId: 0,
      eosTokenId: 5,
      eotTokenId: null,
      endTokenIds: [5],
      specialTokens: { bos_token: '<s>', eos_token: '<|im_end|>' },
      chatTemplates: new Map([['default', chat]]),
    })
  })

  it('joins the end tokens of all files', () => {
    const files = { tokenizerJson: TOKENIZER, endTokenIds: [1, 5] }
    expect(describeHfTokenizer(files).endTokenIds).toEqual([1, 5])
  })

  it('reads several chat templates by name', () => {
    const { chatTemplates } = described({
      chat_template: [
        { name: 'default', template: 'A' },
        { name: 'tool_use', template: 'B' },
      ],
    })
    expect(chatTemplates.get('tool_use')).toBe('B')
  })

  it('knows no id for a special token that the vocabulary lacks', () => {
    expect(described({ bos_token: 'toString' }).bosTokenId).toBeNull()
  })

  it('finds an id in a vocabulary of texts with scores', () => {
    const tokenizerJson = JSON.stringify({
      model: {
        vocab: [
          ['<unk>', 0],
          ['<s>', -1],
        ],
      },
    })
    const tokenizerConfig = JSON.stringify({ bos_token: '<s>' })
    expect(describeHfTokenizer({ tokenizerJson, tokenizerConfig }).bosTokenId).toBe(1)
  })

  it.each([
    ['no JSON', '{', /tokenizer.json/],
    ['an array', '[]', /a JSON object/],
    ['added tokens without an id', '{"added_tokens":[{"content":"a"}]}', /added_tokens\[\].id/],
    ['added tokens without a text', '{"added_tokens":[{"id":1}]}', /added_tokens\[\].content/],
    ['added tokens that are no objects', '{"added_tokens":[1]}', /objects/],
    ['added tokens that are no array', '{"added_tokens":{}}', /an array/],
  ])('refuses %s', (_name, tokenizerJson, text) => {
    const act = () => describeHfTokenizer({ tokenizerJson })
    expect(act).toThrow(expect.objectContaining({ code: 'TEXT_BAD_TOKENIZER' }))
    expect(act).toThrow(text)
  })

  it.each([{ bos_token: 3 }, { chat_template: 3 }, { chat_template: [{ name: 'x' }] }])(
    'refuses the configuration %j',
    (config) => {
      expect(() => described(config)).toThrow(
        expect.objectContaining({ code: 'TEXT_BAD_TOKENIZER' }),
      )
    },
  )

  const around = (config: object, json: object = {}) => {
    const root = { ...JSON.parse(TOKENIZER), ...json }
    const { model } = describeHfTokenizer({
      tokenizerJson: JSON.stringify(root),
      tokenizerConfig: JSON.stringify(config),
    })
    return model.kind === 'huggingFace' ? JSON.parse(model.json).post_processor : undefined
  }
  const begin = {
    type: 'TemplateProcessing',
    single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
    pair: [
      { SpecialToken: { id: '<s>', type_id: 0 } },
      { Sequence: { id: 'A', type_id: 0 } },
      { SpecialToken: { id: '<s>', type_id: 0 } },
      { Sequence: { id: 'B', type_id: 0 } },
    ],
    special_tokens: { '<s>': { id: '<s>', ids: [0], tokens: ['<s>'] } },
  }

  it('puts begin and end tokens around a text as the configuration says', () => {
    const named = { bos_token: '<s>', eos_token: '<|im_end|>' }
    expect(around({ ...named, add_bos_token: true })).toEqual(begin)
    expect(around({ ...named, add_eos_token: true }).single.at(-1)).toEqual({
      SpecialToken: { id: '<|im_end|>', type_id: 0 },
    })
    expect(around({ ...named, add_bos_token: false }, { post_processor: begin }).single).toEqual([
      { Sequence: { id: 'A', type_id: 0 } },
    ])
    expect(around(named, { post_processor: begin })).toEqual(begin)
    expect(around({ add_bos_token: true })).toBeUndefined()
    expect(() => around({ ...named, add_bos_token: 1 })).toThrow(/add_bos_token.*number 1/)
    expect(() => around({ bos_token: '<x>', add_bos_token: true })).toThrow(/bos_token.*"<x>"/)
  })

  it('leaves tokenizer.json as it is where it does already what the configuration says', () => {
    const byteLevel = { type: 'ByteLevel', trim_offsets: true }
    for (const post_processor of [begin, { type: 'Sequence', processors: [byteLevel, begin] }]) {
      const tokenizerJson = ` ${JSON.stringify({ ...JSON.parse(TOKENIZER), post_processor })}`
      const tokenizerConfig = JSON.stringify({ bos_token: '<s>', add_bos_token: true })
      const { model } = describeHfTokenizer({ tokenizerJson, tokenizerConfig })
      expect(model).toEqual({ kind: 'huggingFace', json: tokenizerJson })
    }
  })

  it('adds the tokens that only the configuration has, with their rules', () => {
    const added_tokens_decoder = {
      8: { content: '<late>', special: true, rstrip: true },
      7: { content: '<early>' },
      5: { content: '<|im_end|>', special: true },
      1: { content: 'a', special: false },
    }
    const description = describeHfTokenizer({
      tokenizerJson: TOKENIZER,
      tokenizerConfig: JSON.stringify({ added_tokens_decoder }),
    })
    const { model, addedTokens } = description
    const json = model.kind === 'huggingFace' ? JSON.parse(model.json) : {}
    expect(
      json.added_tokens.map((token: { id: number; rstrip?: boolean; special: boolean }) => [
        token.id,
        token.special,
        token.rstrip ?? null,
      ]),
    ).toEqual([
      [5, true, null],
      [6, false, null],
      [1, false, false],
      [7, false, false],
      [8, true, true],
    ])
    expect(addedTokens.get('<late>')).toBe(8)
  })

  it.each([
    [{ added_tokens_decoder: [] }, /added_tokens_decoder/],
    [{ added_tokens_decoder: { x: { content: 'a' } } }, /whole number.*"x"/],
    [{ added_tokens_decoder: { 1: { content: 3 } } }, /content.*number 3/],
    [{ added_tokens_decoder: { 1: null } }, /objects.*null/],
  ])('refuses the configuration %j', (config, text) => {
    const act = () =>
      describeHfTokenizer({ tokenizerJson: TOKENIZER, tokenizerConfig: JSON.stringify(config) })
    expect(act).toThrow(text)
    expect(act).toThrow(expect.objectContaining({ code: 'TEXT_BAD_TOKENIZER' }))
  })
})
