import { expect, it } from 'vitest'
import { systemClock } from '../../../src/base/clock.ts'
import { type TextSource, TextToolsCache } from '../../../src/deployment/text-tools.ts'
import type { TokenizerDescription } from '../../../src/text/tokenizer-description.ts'
import { fixedTokenizer } from '../../support/text-fixtures.ts'

const DESCRIPTION: TokenizerDescription = {
  model: { kind: 'huggingFace', json: '{}' },
  addedTokens: new Map(),
  preTokenizer: 'none',
  bosTokenId: null,
  eosTokenId: null,
  eotTokenId: null,
  endTokenIds: [],
  specialTokens: {},
  chatTemplates: new Map(),
}

function source(digest: string, tokenizer: TokenizerDescription | null = DESCRIPTION): TextSource {
  const config = { eosTokenIds: [], vocabSize: 8 }
  return { source: { path: 'model.gguf', digest }, facts: { tokenizer, config } }
}

/** A cache, and what it had made elsewhere. */
function cache() {
  const calls: string[] = []
  const texts = new TextToolsCache(() => {
    calls.push('begin')
    return () => {
      calls.push('finish')
      return fixedTokenizer([Buffer.from('a')], [])
    }
  }, systemClock)
  return { texts, calls }
}

it('tools that are begun are made elsewhere, once, and waited for where they are needed', () => {
  const { texts, calls } = cache()
  texts.begin(source('one'))
  texts.begin(source('one'))
  expect(calls).toEqual(['begin'])
  const tools = texts.of(source('one'))
  expect(calls).toEqual(['begin', 'finish'])
  texts.begin(source('one'))
  expect(texts.of(source('one'))).toBe(tools)
  expect(calls).toEqual(['begin', 'finish'])
})

it('tools that nobody has begun are made when they are asked for', () => {
  const { texts, calls } = cache()
  expect(texts.of(source('one')).tokenizer.vocabSize).toBe(1)
  expect(texts.of(source('two', null)).tokenizer.vocabSize).toBe(0)
  expect(calls).toEqual(['begin', 'finish'])
})

it('a template that cannot be read is told when the tools are begun', () => {
  const { texts } = cache()
  const broken = { ...DESCRIPTION, chatTemplates: new Map([['default', '{% if %}']]) }
  expect(() => texts.begin(source('one', broken))).toThrow(
    expect.objectContaining({ code: 'TEXT_BAD_CHAT_TEMPLATE' }),
  )
})

it('the tools of the four models that were asked for last are kept', () => {
  const { texts, calls } = cache()
  for (const digest of ['1', '2', '3', '4', '1', '5']) texts.of(source(digest))
  calls.length = 0
  texts.of(source('1'))
  expect(calls).toEqual([])
  texts.of(source('2'))
  expect(calls).toEqual(['begin', 'finish'])
})
