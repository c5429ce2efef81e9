/** SmolLM2's tokenizer from its GGUF file, against transformers (golden file) and the `tokenizers` package (fixture). */

import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { loadNative } from '../../native/loader.ts'
import { openCheckpoint } from '../../src/checkpoint/open-checkpoint.ts'
import { ChatTemplate } from '../../src/text/chat-template.ts'
import { describeGgufTokenizer } from '../../src/text/gguf-tokenizer.ts'
import { IncrementalDetokenizer } from '../../src/text/incremental-detokenizer.ts'
import { createTokenizer } from '../../src/text/tokenizer.ts'
import { modelPath } from '../support/model-path.ts'
import { seededRandom } from '../support/seeded-random.ts'
import { goldenCases } from '../support/text-fixtures.ts'

const golden = goldenCases()
const description = describeGgufTokenizer((await openCheckpoint(await modelPath())).metadata)
const tokenizer = createTokenizer(description, loadNative())
const fixture = JSON.parse(
  readFileSync(new URL('../fixtures/smollm2-token-ids.json', import.meta.url), 'utf8'),
)
const NO_SPECIAL = { addSpecialTokens: false }

describe("SmolLM2's tokenizer", () => {
  it('is described by the metadata of its file', () => {
    expect(description).toMatchObject({
      preTokenizer: 'smollm',
      bosTokenId: 1,
      eosTokenId: 2,
      endTokenIds: [0, 2],
      specialTokens: { bos_token: '<|im_start|>', eos_token: '<|im_end|>' },
    })
    expect(tokenizer.vocabSize).toBe(49_152)
    expect(description.addedTokens.size).toBe(17)
  })

  it.skipIf('missing' in golden)(
    'gives the prompt ids of transformers for every golden case',
    async () => {
      if ('missing' in golden) throw new Error(golden.missing)
      const template = new ChatTemplate(description)
      for (const { id, messages, text, rendered, prompt_ids } of golden.value) {
        const prompt = messages === undefined ? text : template.render({ messages, tools: null })
        expect({ id, prompt }).toEqual({ id, prompt: rendered })
        const ids = await tokenizer.encode(rendered, { addSpecialTokens: messages === undefined })
        expect({ id, ids: [...ids] }).toEqual({ id, ids: prompt_ids })
      }
    },
  )

  it.skipIf('missing' in golden)('detokenizes the golden answers, token by token', () => {
    if ('missing' in golden) throw new Error(golden.missing)
    for (const { id, greedy_ids, greedy_text } of golden.value) {
      const detokenizer = new IncrementalDetokenizer(tokenizer)
      const pieces = greedy_ids.map((token) => detokenizer.push(token))
      expect({ id, text: pieces.join('') + detokenizer.flush() }).toEqual({ id, text: greedy_text })
    }
  })

  it(`gives the ids of ${fixture.reference} for hard texts`, async () => {
    for (const { text, ids } of fixture.cases) {
      expect({ text, ids: [...(await tokenizer.encode(text, NO_SPECIAL))] }).toEqual({ text, ids })
    }
  })

  it('brings random Unicode back, by tokens, token by token and at once', async () => {
    for (let seed = 0; seed < 500; seed += 1) {
      const text = randomUnicode(seed)
      const ids = await tokenizer.encode(text, NO_SPECIAL)
      const detokenizer = new IncrementalDetokenizer(tokenizer, { skipSpecialTokens: false })
      const pieces = [...ids].map((id) => detokenizer.push(id)).join('') + detokenizer.flush()
      const whole = tokenizer.decode(ids, { skipSpecialTokens: false })
      expect({ seed, pieces, whole }).toEqual({ seed, pieces: text, whole: text })
    }
  })

  it('decodes random ids token by token as it does at once', () => {
    for (let seed = 0; seed < 500; seed += 1) {
      const random = seededRandom(seed)
      // Bytes 17 … 255 of the vocabulary are single bytes, which seldom make whole characters.
      const ids = Array.from({ length: 20 }, () =>
        random.below(random.below(2) === 0 ? 256 : 49_152),
      )
      const detokenizer = new IncrementalDetokenizer(tokenizer)
      const pieces = ids.map((id) => detokenizer.push(id)).join('') + detokenizer.flush()
      const whole = tokenizer.decode(Int32Array.from(ids), { skipSpecialTokens: true })
      expect({ seed, text: pieces }).toEqual({ seed, text: whole })
    }
  })

  // A quiet Zen 4 core does 3 MB/s; the bound only catches a fall by an order of magnitude.
  it('encodes at a useful speed, which it prints', async () => {
    const text =
      `${readFileSync(new URL('../../ARCHITECTURE.md', import.meta.url), 'utf8')}\n`.repeat(50)
    let bestMs = Number.POSITIVE_INFINITY
    for (let round = 0; round < 3; round += 1) {
      const start = performance.now()
      await tokenizer.encode(text, NO_SPECIAL)
      bestMs = Math.min(bestMs, performance.now() - start)
    }
    const megabytesPerSecond = Buffer.byteLength(text) / 1_000 / bestMs
    console.info(
      `tokenizer: ${megabytesPerSecond.toFixed(1)} MB/s on ${Buffer.byteLength(text)} bytes`,
    )
    expect(megabytesPerSecond).toBeGreaterThan(0.3)
  })
})

/** Characters of all planes that the vocabulary has bytes for; it lacks those of six control characters and F1 … F4. */
function randomUnicode(seed: number): string {
  const random = seededRandom(seed)
  const alphabets = [
    'abc XYZ',
    '0189 .,',
    '\n\t\r  ',
    'äöüßé',
    '你好世界',
    '👋🏽👨‍👩‍👧',
    "'s't're'll",
    '<|im_end|>',
  ]
  const length = 1 + random.below(40)
  const parts = Array.from({ length }, () => {
    if (random.below(8) > 0) {
      const characters = [...(alphabets[random.below(alphabets.length)] as string)]
      return characters[random.below(characters.length)] as string
    }
    const codePoint = 0x20 + random.below(0x3ffff)
    return codePoint >= 0xd800 && codePoint < 0xe000 ? '' : String.fromCodePoint(codePoint)
  })
  return parts.join('')
}
