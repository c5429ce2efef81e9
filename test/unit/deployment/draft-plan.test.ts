import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SOURCE_WEIGHTS } from '../../../src/base/weights-choice.ts'
import { checkDraft, type DraftFacts, planDraft } from '../../../src/deployment/draft-plan.ts'
import { readModelFacts } from '../../../src/deployment/model-facts.ts'
import { writeTinyLlamaFolder } from '../../support/tiny-llama-folder.ts'

const SOURCE = { path: '/draft', digest: 'd'.repeat(64), name: 'small' }

const facts = (vocabSize: number, tokens: readonly string[] | null): DraftFacts =>
  ({
    config: { vocabSize },
    exported: null,
    tokenizer:
      tokens === null
        ? null
        : {
            model: { kind: 'huggingFace', json: json(tokens) },
            addedTokens: new Map([['<end>', tokens.length]]),
          },
  }) as unknown as DraftFacts
const json = (tokens: readonly string[]) =>
  JSON.stringify({ model: { vocab: Object.fromEntries(tokens.map((token, id) => [token, id])) } })
const exported = { ...facts(8, null), exported: {} } as DraftFacts

describe('a draft model is refused', () => {
  it.each([
    [
      'with another size of vocabulary',
      facts(9, null),
      facts(8, null),
      'it has 9 tokens in its vocabulary and the model has 8',
    ],
    [
      'with other tokens',
      facts(8, ['a', 'c']),
      facts(8, ['a', 'b']),
      'token 1 is "c" there and "b" in the model',
    ],
    [
      'with other added tokens',
      facts(8, ['a']),
      facts(8, ['a', 'b']),
      'token 1 is "<end>" there and "b" in the model',
    ],
    ['that is an exported graph', exported, facts(8, null), 'it is an exported graph'],
    [
      'for an exported graph',
      facts(8, null),
      exported,
      'the model is an exported graph, which takes no guesses',
    ],
  ])('%s', (_, draft, target, reason) => {
    expect(() => checkDraft(SOURCE, draft, target)).toThrow(
      expect.objectContaining({
        code: 'DEPLOYMENT_DRAFT_UNUSABLE',
        param: '--draft-model',
        details: expect.objectContaining({ draft: 'small', reason }),
      }),
    )
  })

  it('and taken where it has the same tokens, or one of them has no tokenizer', () => {
    expect(checkDraft(SOURCE, facts(8, ['a', 'b']), facts(8, ['a', 'b']))).toBeUndefined()
    expect(checkDraft(SOURCE, facts(8, null), facts(8, ['a', 'b']))).toBeUndefined()
  })
})

describe('planning a draft model', () => {
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ingot-draft-plan-'))
    await writeTinyLlamaFolder(folder)
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  it('adds its weights and its KV', async () => {
    const target = await readModelFacts(folder)
    const plan = await planDraft({ ...SOURCE, path: folder }, target, 4)
    expect(plan.weightsBytes).toBe(target.planWeights(SOURCE_WEIGHTS).packedBytes)
    expect(plan.kvBytesPerToken('bf16')).toBe(target.kvBytesPerToken('bf16'))
  })

  it('refuses it where no guesses are wanted', async () => {
    const target = await readModelFacts(folder)
    await expect(planDraft({ ...SOURCE, path: folder }, target, 0)).rejects.toMatchObject({
      code: 'DEPLOYMENT_DRAFT_UNUSABLE',
    })
  })
})
