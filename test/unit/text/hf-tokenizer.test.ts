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
})
