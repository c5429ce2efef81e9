import { describe, expect, it } from 'vitest'
import type { MetadataValue } from '../../../src/checkpoint/checkpoint.ts'
import { describeGgufTokenizer, hasGgufTokenizer } from '../../../src/text/gguf-tokenizer.ts'
import { PRE_TOKENIZERS } from '../../../src/text/pre-tokenizers.ts'

/** A vocabulary of eight tokens: two control, one user-defined, one whose name is hostile to JavaScript objects. */
const SMALL: Readonly<Record<string, MetadataValue>> = {
  'tokenizer.ggml.model': 'gpt2',
  'tokenizer.ggml.pre': 'smollm',
  'tokenizer.ggml.tokens': [
    '<|im_start|>',
    '<|im_end|>',
    'a',
    'b',
    'ab',
    '<think>',
    '__proto__',
    '<unk>',
  ],
  'tokenizer.ggml.token_type': [3, 3, 1, 1, 1, 4, 1, 2],
  'tokenizer.ggml.merges': ['a b'],
  'tokenizer.ggml.bos_token_id': 0,
  'tokenizer.ggml.eos_token_id': 1,
}

function metadata(changes: Readonly<Record<string, MetadataValue | undefined>> = {}) {
  const entries = Object.entries({ ...SMALL, ...changes })
  return new Map(
    entries.filter((entry): entry is [string, MetadataValue] => entry[1] !== undefined),
  )
}

// biome-ignore lint/suspicious/noExplicitAny: the JSON's shape is what is tested.
function json(changes: Readonly<Record<string, MetadataValue | undefined>> = {}): any {
  const { model } = describeGgufTokenizer(metadata(changes))
  return model.kind === 'huggingFace' ? JSON.parse(model.json) : undefined
}

describe('describeGgufTokenizer', () => {
  it('writes the vocabulary, the merges and the special tokens', () => {
    const { model, added_tokens: added, post_processor: around } = json()
    expect(model.merges).toEqual([['a', 'b']])
    expect(Object.entries(model.vocab)).toHaveLength(8)
    expect(Object.getOwnPropertyDescriptor(model.vocab, '__proto__')?.value).toBe(6)
    expect(
      added.map((token: { id: number; special: boolean }) => [token.id, token.special]),
    ).toEqual([
      [0, true],
      [1, true],
      [5, false],
      [7, true],
    ])
    expect(around).toBeNull()
  })

  it('describes the ids that mean something', () => {
    const description = describeGgufTokenizer(
      metadata({ 'tokenizer.ggml.eot_token_id': 4, 'tokenizer.ggml.padding_token_id': 7 }),
    )
    expect(description).toMatchObject({
      bosTokenId: 0,
      eosTokenId: 1,
      eotTokenId: 4,
      endTokenIds: [1, 4],
      specialTokens: { bos_token: '<|im_start|>', eos_token: '<|im_end|>', pad_token: '<unk>' },
      preTokenizer: 'smollm',
    })
  })

  it('ends answers at control tokens that are known to end them, though the metadata names none', () => {
    const changes = { 'tokenizer.ggml.eos_token_id': undefined }
    expect(describeGgufTokenizer(metadata(changes)).endTokenIds).toEqual([1])
    const asText = { ...changes, 'tokenizer.ggml.token_type': [1, 1, 1, 1, 1, 1, 1, 1] }
    expect(describeGgufTokenizer(metadata(asText)).endTokenIds).toEqual([])
  })

  it('reads an id of all bits set as none', () => {
    const changes = { 'tokenizer.ggml.bos_token_id': 0xffffffff }
    expect(describeGgufTokenizer(metadata(changes)).bosTokenId).toBeNull()
  })

  it('cuts as the original tokenizer of SmolLM2 does', () => {
    expect(json().pre_tokenizer).toEqual({
      type: 'Sequence',
      pretokenizers: [
        { type: 'Digits', individual_digits: true },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      ],
    })
  })

  it('cuts by a regular expression before the byte alphabet where the name asks for one', () => {
    const { pretokenizers } = json({ 'tokenizer.ggml.pre': 'llama-bpe' }).pre_tokenizer
    expect(pretokenizers.map((part: { type: string }) => part.type)).toEqual(['Split', 'ByteLevel'])
    expect(pretokenizers[0].pattern.Regex).toBe(
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    )
    expect(pretokenizers[1].use_regex).toBe(false)
  })

  it('adds a begin token where the file or the name of the cutter says so', () => {
    const begin = [
      { SpecialToken: { id: '<|im_start|>', type_id: 0 } },
      { Sequence: { id: 'A', type_id: 0 } },
    ]
    expect(json({ 'tokenizer.ggml.add_bos_token': true }).post_processor.single).toEqual(begin)
    expect(json({ 'tokenizer.ggml.pre': 'llama-bpe' }).post_processor.single).toEqual(begin)
    expect(json({ 'tokenizer.ggml.pre': 'llama-bpe' }).model.ignore_merges).toBe(true)
    const both = { 'tokenizer.ggml.pre': 'llama-bpe', 'tokenizer.ggml.add_bos_token': false }
    expect(json(both).post_processor).toBeNull()
  })

  it('adds an end token only where the file says so', () => {
    const { single } = json({ 'tokenizer.ggml.add_eos_token': true }).post_processor
    expect(single.at(-1)).toEqual({ SpecialToken: { id: '<|im_end|>', type_id: 0 } })
  })

  it('adds a space before the text only where the whole cutter is GPT-2’s', () => {
    const wish = { 'tokenizer.ggml.add_space_prefix': true }
    expect(json({ ...wish, 'tokenizer.ggml.pre': 'gpt-2' }).pre_tokenizer.add_prefix_space).toBe(
      true,
    )
    expect(JSON.stringify(json(wish).pre_tokenizer)).not.toContain('"add_prefix_space":true')
  })

  it('takes llama.cpp’s default cutter when the file names none', () => {
    const description = describeGgufTokenizer(metadata({ 'tokenizer.ggml.pre': undefined }))
    expect(description.preTokenizer).toBe('default')
  })

  it('reads the chat template and the further ones by name', () => {
    const description = describeGgufTokenizer(
      metadata({ 'tokenizer.chat_template': 'A', 'tokenizer.chat_template.tool_use': 'B' }),
    )
    expect([...description.chatTemplates]).toEqual([
      ['default', 'A'],
      ['tool_use', 'B'],
    ])
  })

  it('splits a merge after its first character at the earliest', () => {
    expect(json({ 'tokenizer.ggml.merges': ['  a'] }).model.merges).toEqual([[' ', 'a']])
  })

  it('is absent where a file says so, or says nothing of a tokenizer', () => {
    const has = (...entries: readonly (readonly [string, MetadataValue])[]) =>
      hasGgufTokenizer(new Map(entries))
    expect(has(['general.architecture', 'llama'])).toBe(false)
    expect(has(['tokenizer.ggml.model', 'none'], ['tokenizer.ggml.tokens', ['a']])).toBe(false)
    expect(has(['tokenizer.ggml.model', 'no_vocab'])).toBe(false)
    expect(has(['tokenizer.ggml.tokens', ['a']])).toBe(true)
    expect(has(['tokenizer.ggml.model', 'rwkv'])).toBe(true)
  })

  it('refuses other kinds of tokenizer by name', () => {
    expect(() => describeGgufTokenizer(metadata({ 'tokenizer.ggml.model': 't5' }))).toThrow(
      expect.objectContaining({ code: 'TEXT_UNSUPPORTED_TOKENIZER', status: 422 }),
    )
    expect(() => describeGgufTokenizer(new Map())).toThrow(/got nothing/)
  })

  it('refuses a cutter it does not know and lists those it knows', () => {
    const act = () => describeGgufTokenizer(metadata({ 'tokenizer.ggml.pre': 'kimi-k9' }))
    expect(act).toThrow(expect.objectContaining({ code: 'TEXT_UNKNOWN_PRE_TOKENIZER' }))
    expect(act).toThrow(/"kimi-k9".*default, gpt-2.*smollm.*llama-bpe/)
    expect(PRE_TOKENIZERS.size).toBeGreaterThan(40)
  })

  const hostile: readonly [
    name: string,
    changes: Readonly<Record<string, MetadataValue | undefined>>,
    text: RegExp,
  ][] = [
    ['no tokens', { 'tokenizer.ggml.tokens': undefined }, /tokens, got nothing/],
    ['empty tokens', { 'tokenizer.ggml.tokens': [] }, /at least one token/],
    ['tokens that are numbers', { 'tokenizer.ggml.tokens': [1, 2] }, /an array of texts/],
    [
      'two tokens of the same text',
      { 'tokenizer.ggml.tokens': ['a', 'b', 'a'] },
      /"a" for ids 0 and 2/,
    ],
    ['too few types', { 'tokenizer.ggml.token_type': [1] }, /8 entries/],
    ['types that are texts', { 'tokenizer.ggml.token_type': ['1'] }, /an array of numbers/],
    ['no merges', { 'tokenizer.ggml.merges': undefined }, /merges, got nothing/],
    ['a merge of one token', { 'tokenizer.ggml.merges': ['ab'] }, /"ab" at 0/],
    [
      'an id outside the vocabulary',
      { 'tokenizer.ggml.eos_token_id': 8 },
      /below 8 for tokenizer.ggml.eos_token_id, got number 8/,
    ],
    ['an id that is a fraction', { 'tokenizer.ggml.bos_token_id': 0.5 }, /below 8/],
    [
      'an id of 64 bits',
      { 'tokenizer.ggml.bos_token_id': 2n ** 60n },
      /bigint 1152921504606846976/,
    ],
    ['a flag that is a number', { 'tokenizer.ggml.add_bos_token': 1 }, /true or false/],
    ['a template that is a number', { 'tokenizer.chat_template': 3 }, /a text/],
    ['a cutter that is a number', { 'tokenizer.ggml.pre': 3 }, /a text/],
  ]
  it.each(hostile)('refuses %s and says which key', (_name, changes, text) => {
    const act = () => describeGgufTokenizer(metadata(changes))
    expect(act).toThrow(expect.objectContaining({ code: 'TEXT_BAD_TOKENIZER', status: 422 }))
    expect(act).toThrow(text)
  })
})
