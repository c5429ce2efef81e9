import { expect, it } from 'vitest'
import type { TokenLogprob } from '../../../src/deployment/generation.ts'
import {
  CompletionLogprobs,
  chatTokenLogprob,
  promptLogprobs,
  withTop,
} from '../../../src/server/dialects/openai/logprobs.ts'

function token(
  bytes: Uint8Array | string,
  logprob: number,
  top: TokenLogprob['top'] = [],
): TokenLogprob {
  const buffer = Buffer.from(bytes as string)
  return { tokenId: buffer.length, text: buffer.toString(), bytes: buffer, logprob, rank: 1, top }
}

// '€' is e2 82 ac; the two tokens hold one byte and two.
const head = token(Buffer.from([0xe2]), -1)
const tail = token(Buffer.from([0x82, 0xac]), -2)

it('tokens that are not text by themselves keep apart as OpenAI’s bytes:', () => {
  const other = token(Buffer.from([0xe3]), -3)
  const body = new CompletionLogprobs().next([{ ...head, top: [head, other] }, tail])
  expect(body.tokens).toEqual(['bytes:\\xe2', 'bytes:\\x82\\xac'])
  expect(body.top_logprobs[0]).toEqual({ 'bytes:\\xe2': -1, 'bytes:\\xe3': -3 })
})

it('a real U+FFFD is itself', () => {
  expect(new CompletionLogprobs().next([token('\uFFFD', -1)]).tokens).toEqual(['\uFFFD'])
})

it('offsets count characters, not UTF-16 units, and go on over calls', () => {
  const logprobs = new CompletionLogprobs()
  const first = logprobs.next([token('a💥', -1), head, tail, token('b', -1)])
  expect(first.text_offset).toEqual([0, 2, 3, 3])
  expect(logprobs.next([token('c', -1)]).text_offset).toEqual([4])
})

it('a begin-of-text token before the echoed text takes no room in it', () => {
  const logprobs = new CompletionLogprobs()
  const body = logprobs.next([{ firstToken: '<s>', isInText: false }, token('ab', -1)])
  expect(body).toEqual({
    text_offset: [0, 0],
    token_logprobs: [null, -1],
    tokens: ['<s>', 'ab'],
    top_logprobs: [null, { ab: -1 }],
  })
})

it('of two tokens that read the same the likelier is reported', () => {
  const twins = [token('x', -5), token('x', -1)]
  expect(new CompletionLogprobs().next([token('y', -7, twins)]).top_logprobs).toEqual([
    { x: -1, y: -7 },
  ])
})

it('bytes are exact where the text is not', () => {
  expect(chatTokenLogprob(head)).toMatchObject({ token: '\uFFFD', bytes: [0xe2], logprob: -1 })
})

it('vLLM’s prompt logprobs name each id once, the prompt’s own first', () => {
  const own = { ...token('b', -4), tokenId: 9, rank: 7 }
  const top = [{ ...token('a', -1), tokenId: 3 }, { ...own }]
  expect(promptLogprobs([null, { ...own, top }])).toEqual([
    null,
    {
      3: { logprob: -1, rank: 1, decoded_token: 'a' },
      9: { logprob: -4, rank: 7, decoded_token: 'b' },
    },
  ])
})

it('alternatives beyond what was asked for are left out', () => {
  const three = token('y', -7, [token('a', -1), token('b', -2), token('c', -3)])
  expect(withTop(three, 1).top).toHaveLength(1)
  expect(withTop(three, 5)).toBe(three)
})
