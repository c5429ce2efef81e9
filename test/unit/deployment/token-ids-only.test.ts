import { expect, it } from 'vitest'
import { NO_TEMPLATE, withoutTokenizer } from '../../../src/text/no-tokenizer.ts'
import { DeploymentStage, textOf } from '../../support/deployment-stage.ts'

function stageWithoutTokenizer(): DeploymentStage {
  return new DeploymentStage({ tokenizer: withoutTokenizer([2]), template: NO_TEMPLATE })
}

it('a model without tokenizer takes ids and gives ids, with logprobs by id', async () => {
  const stage = stageWithoutTokenizer()
  const { events, ended } = await stage.read({ input: { kind: 'tokens', tokenIds: [4, 5] } })
  expect(stage.replica.submitted[0]?.promptIds).toEqual(Int32Array.of(4, 5))
  const top = { topIds: [7, 8], topLogprobs: [-0.5, -1] }
  const logprobs = [{ tokenId: 7, logprob: -0.5, rank: 1, ...top }]
  stage.replica.update(0, { tokenIds: [7], logprobs })
  stage.replica.update(0, { tokenIds: [2], finish: 'stop', stopTokenId: 2 })
  expect(await ended).toBeUndefined()
  expect(textOf(events)).toBe('')
  const deltas = events.filter((event) => event.type === 'delta')
  expect(deltas.map(({ tokenIds }) => tokenIds)).toEqual([[7], [2]])
  expect(deltas[0]?.logprobs?.[0]).toMatchObject({
    tokenId: 7,
    text: 'token_id:7',
    top: [
      { tokenId: 7, text: 'token_id:7' },
      { tokenId: 8, text: 'token_id:8' },
    ],
  })
})

it.each([
  ['prompt', { input: { kind: 'text', text: 'hi' } }],
  [
    'messages',
    { input: { kind: 'chat', messages: [{ role: 'user', content: 'hi' }], tools: null } },
  ],
  ['stop', { input: { kind: 'tokens', tokenIds: [4] }, stop: ['x'] }],
] as const)('a model without tokenizer refuses texts in %s', async (param, change) => {
  const stage = stageWithoutTokenizer()
  const { ended } = await stage.read(change as never)
  expect(await ended).toMatchObject({ code: 'TEXT_NO_TOKENIZER', status: 400, param })
  expect(stage.replica.submitted).toEqual([])
})

it('a model without tokenizer echoes nothing', () => {
  const { deployment } = stageWithoutTokenizer()
  expect(() => deployment.decode([4])).toThrow(
    expect.objectContaining({ code: 'TEXT_NO_TOKENIZER', param: 'echo' }),
  )
})
