/**
 * Mutated `tokenizer.json` files in the native tokenizer: each is an error or a tokenizer that encodes and decodes hard
 * texts with an end, whatever it makes of them. A crash would end the process, and with it this test.
 */

import { expect, it } from 'vitest'
import { loadNative } from '../../native/loader.ts'
import { mutateJson } from '../support/json-mutations.ts'
import { seededRandom } from '../support/seeded-random.ts'

const binding = loadNative()

const split = (pattern: string) => ({
  type: 'Split',
  pattern: { Regex: pattern },
  behavior: 'Isolated',
  invert: false,
})
const added = [
  {
    id: 9,
    content: '<s>',
    single_word: false,
    lstrip: true,
    rstrip: true,
    normalized: false,
    special: true,
  },
]

const ORIGINALS: Readonly<Record<string, object>> = {
  'byte-level BPE': {
    version: '1.0',
    added_tokens: added,
    normalizer: { type: 'NFC' },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        split('\\p{N}{1,3}'),
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      ],
    },
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 0 } }],
      special_tokens: { '<s>': { id: '<s>', ids: [9], tokens: ['<s>'] } },
    },
    decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: { a: 0, b: 1, ab: 2, Ġ: 3, '1': 4, aab: 5 },
      merges: [
        ['a', 'b'],
        ['a', 'ab'],
      ],
    },
  },
  Unigram: {
    version: '1.0',
    added_tokens: added,
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Replace', pattern: { Regex: ' {2,}' }, content: ' ' },
        { type: 'Lowercase' },
      ],
    },
    pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
    decoder: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
    model: {
      type: 'Unigram',
      unk_id: 0,
      byte_fallback: true,
      vocab: [
        ['<unk>', 0],
        ['▁', -1],
        ['a', -2],
        ['ab', -2.5],
        ['▁a', -1.5],
        ['<0xE4>', -9],
      ],
    },
  },
  WordPiece: {
    version: '1.0',
    added_tokens: added,
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: { '[UNK]': 0, a: 1, '##a': 2, '##b': 3, '.': 4 },
    },
  },
}

const TEXTS = [
  '',
  'ab a  b\n',
  'a'.repeat(200),
  '1234567',
  '你好 <s> ab.',
  ' '.repeat(100),
  '\u0000é\u0301<0xE4>',
]

it.each(Object.keys(ORIGINALS))(
  'survives 700 mutations of a %s file',
  { timeout: 120_000 },
  (name) => {
    let numRead = 0
    for (let seed = 1; seed <= 700; seed += 1) {
      const json = JSON.stringify(mutateJson(ORIGINALS[name], seededRandom(seed)))
      const start = performance.now()
      try {
        const tokenizer = new binding.TokenizerBuild(json).finish()
        numRead += 1
        for (const text of TEXTS) tokenizer.decode(tokenizer.encode(text, true), false)
        tokenizer.decode(Int32Array.of(0, 1, 2, 9, 99), true)
      } catch (error) {
        if (!/^tokenizer could not /.test(String((error as Error).message))) {
          throw new Error(`seed ${seed}: ${json}`, { cause: error })
        }
      }
      expect(performance.now() - start, `seed ${seed}`).toBeLessThan(20_000)
    }
    expect(numRead).toBeGreaterThan(20)
    expect(numRead).toBeLessThan(680)
  },
)
