/**
 * Gemma 3 270M Q4_K_M, a base model: its SentencePiece tokenizer, windows of attention and large vocabulary. Skipped where
 * ../shared/golden is absent, and where the weights are neither in the store nor to be had.
 */

import { describe, expect, it } from 'vitest'
import { loadNative } from '../../native/loader.ts'
import { openTensorCheckpoint } from '../../src/checkpoint/open-checkpoint.ts'
import { ChatTemplate } from '../../src/text/chat-template.ts'
import { describeGgufTokenizer } from '../../src/text/gguf-tokenizer.ts'
import { IncrementalDetokenizer } from '../../src/text/incremental-detokenizer.ts'
import { createTokenizer } from '../../src/text/tokenizer.ts'
import { readGolden } from '../support/golden.ts'
import { describeGolden } from '../support/golden-suite.ts'
import { catalogModelPath } from '../support/model-path.ts'

const golden = readGolden('gemma-3-270m-q4_k_m.json')
const weights =
  golden === undefined
    ? { missing: '../shared/golden is absent' }
    : await catalogModelPath('gemma-3-270m').then(
        (path) => ({ path }),
        (error: unknown) => ({ missing: `the weights cannot be had: ${String(error)}` }),
      )

if (golden === undefined || 'missing' in weights) {
  it.skip(`Gemma 3 against its reference (${'missing' in weights ? weights.missing : ''})`)
} else {
  const { metadata } = await openTensorCheckpoint(weights.path)
  const description = describeGgufTokenizer(metadata)
  const tokenizer = createTokenizer(description, loadNative())

  describe("Gemma 3's tokenizer", () => {
    it('gives the prompt ids of transformers for every golden case', async () => {
      for (const { id, rendered, prompt_ids } of golden.cases) {
        const ids = await tokenizer.encode(rendered, { addSpecialTokens: true })
        expect({ id, ids: [...ids] }).toEqual({ id, ids: prompt_ids })
      }
    })

    it('detokenizes the golden answers, token by token', () => {
      for (const { id, greedy_ids, greedy_text } of golden.cases) {
        const detokenizer = new IncrementalDetokenizer(tokenizer)
        const pieces = greedy_ids.map((token) => detokenizer.push(token))
        const text = pieces.join('') + detokenizer.flush()
        expect({ id, text }).toEqual({ id, text: greedy_text })
      }
    })

    it('belongs to a base model, which takes no messages', () => {
      const messages = [{ role: 'user', content: 'Hi' }]
      expect(description).toMatchObject({ bosTokenId: 2, eosTokenId: 1, endTokenIds: [1, 106] })
      expect(() => new ChatTemplate(description).render({ messages, tools: null })).toThrow(
        expect.objectContaining({ code: 'TEXT_NO_CHAT_TEMPLATE', status: 400 }),
      )
    })
  })

  describeGolden({
    model: 'Gemma 3',
    golden,
    checkpointPath: weights.path,
    eosTokenIds: description.endTokenIds,
  })
}
