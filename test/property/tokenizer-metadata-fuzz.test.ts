/**
 * Mutated tokenizer metadata and files: each ends in a description or in a `ServingError`. The seed of a failing case is
 * in its message.
 */

import { expect, it } from 'vitest'
import { ServingError } from '../../src/base/errors.ts'
import type { MetadataValue } from '../../src/checkpoint/checkpoint.ts'
import { describeGgufTokenizer } from '../../src/text/gguf-tokenizer.ts'
import { describeHfTokenizer } from '../../src/text/hf-tokenizer.ts'
import { mutateJson } from '../support/json-mutations.ts'
import { type SeededRandom, seededRandom } from '../support/seeded-random.ts'
import { sentencePieceMetadata } from '../support/sentence-piece.ts'

const NUM_CASES = 3_000

const STRANGE: readonly MetadataValue[] = [
  '',
  'kimi-k2',
  'gemma4',
  'gpt2',
  0,
  -1,
  1e300,
  Number.NaN,
  2n ** 63n,
  true,
  false,
  [],
  ['a', 'a'],
  [1, 2, 3],
  [['a']],
  ['a b', 'b', ' '],
  Array(300).fill(-1),
]

function mutated(original: ReadonlyMap<string, MetadataValue>, random: SeededRandom) {
  const metadata = new Map(original)
  const keys = [
    ...metadata.keys(),
    'general.name',
    'tokenizer.ggml.bos_token_id',
    'tokenizer.chat_template',
  ]
  for (let edit = 0; edit <= random.below(3); edit += 1) {
    const key = keys[random.below(keys.length)] as string
    const value = metadata.get(key)
    if (random.below(4) === 0) metadata.delete(key)
    else if (Array.isArray(value) && random.below(2) === 0) {
      const items = [...(value as MetadataValue[])]
      items[random.below(items.length + 1)] = STRANGE[random.below(STRANGE.length)] as MetadataValue
      metadata.set(key, items)
    } else metadata.set(key, STRANGE[random.below(STRANGE.length)] as MetadataValue)
  }
  return metadata
}

const GPT_2 = new Map<string, MetadataValue>([
  ['tokenizer.ggml.model', 'gpt2'],
  ['tokenizer.ggml.pre', 'llama-bpe'],
  ['tokenizer.ggml.tokens', ['a', 'b', 'ab', '<|im_end|>', 'Ġ']],
  ['tokenizer.ggml.token_type', [1, 1, 1, 3, 1]],
  ['tokenizer.ggml.merges', ['a b']],
  ['tokenizer.ggml.eos_token_id', 3],
])

it.each([
  ['gpt2', GPT_2],
  ['llama', sentencePieceMetadata()],
])(`survives ${NUM_CASES} mutations of GGUF metadata of kind %s`, (_kind, original) => {
  survive((random) => describeGgufTokenizer(mutated(original, random)))
})

it(`survives ${NUM_CASES} mutations of tokenizer.json and the files beside it`, () => {
  const tokenizer = {
    added_tokens: [{ id: 5, content: '<s>', special: true }],
    post_processor: { type: 'Sequence', processors: [{ type: 'ByteLevel' }] },
    model: { type: 'BPE', vocab: { a: 0, b: 1 }, merges: [] },
  }
  const config = {
    add_bos_token: true,
    bos_token: { content: '<s>' },
    eos_token: 'b',
    added_tokens_decoder: { 6: { content: '<x>', special: true } },
    chat_template: [{ name: 'default', template: '{{ messages }}' }],
  }
  survive((random) =>
    describeHfTokenizer({
      tokenizerJson: JSON.stringify(mutateJson(tokenizer, random)),
      tokenizerConfig: JSON.stringify(mutateJson(config, random)),
      specialTokensMap: JSON.stringify(mutateJson(config, random)),
    }),
  )
})

function survive(describe: (random: SeededRandom) => unknown): void {
  let numRead = 0
  for (let seed = 1; seed <= NUM_CASES; seed += 1) {
    try {
      describe(seededRandom(seed))
      numRead += 1
    } catch (error) {
      if (!(error instanceof ServingError)) throw new Error(`seed ${seed}`, { cause: error })
    }
  }
  // Both must happen, or nothing was tested.
  expect(numRead).toBeGreaterThan(NUM_CASES / 100)
  expect(numRead).toBeLessThan((NUM_CASES * 99) / 100)
}
