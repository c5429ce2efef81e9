import { beforeEach, describe, expect, it } from 'vitest'
import { ServingError } from '../../../src/base/errors.ts'
import type { GenerationRequest } from '../../../src/deployment/generation.ts'
import { idsOf } from '../../support/byte-tokenizer.ts'
import { DeploymentStage, request, textOf } from '../../support/deployment-stage.ts'

let stage: DeploymentStage
beforeEach(() => {
  stage = new DeploymentStage()
})

async function refusal(change: Partial<GenerationRequest>): Promise<ServingError> {
  const { events, ended } = await stage.read(change)
  expect(events).toEqual([])
  const error = await ended
  if (error instanceof ServingError) return error
  throw new Error('expected a ServingError', { cause: error })
}

describe('a request is refused before its first event', () => {
  it.each([
    ['an over-long prompt', { input: { kind: 'text', text: 'x'.repeat(20) } }, 'prompt'],
    [
      'an over-long prompt without a limit',
      { input: { kind: 'text', text: 'x'.repeat(20) }, maxTokens: null },
      'prompt',
    ],
    ['too long an answer', { maxTokens: 19 }, 'maxTokens'],
  ] as const)('with %s', async (_, change, param) => {
    const error = await refusal(change)
    expect(error).toMatchObject({ code: 'REQUEST_CONTEXT_TOO_LONG', status: 400, param })
    expect(error.message).toContain('maximum context length is 20 tokens')
    expect(stage.replica.submitted).toEqual([])
  })

  it.each([[[257]], [[-1]], [[1.5]], [[Number.NaN]]])('with token ids %j', async (tokenIds) => {
    const error = await refusal({ input: { kind: 'tokens', tokenIds } })
    expect(error).toMatchObject({ code: 'REQUEST_TOKEN_OUT_OF_RANGE', status: 400 })
  })

  it.each([
    { kind: 'text', text: '' },
    { kind: 'tokens', tokenIds: [] },
  ] as const)('with an empty prompt %j', async (input) => {
    expect((await refusal({ input })).code).toBe('REQUEST_EMPTY_PROMPT')
  })

  it('while the replica is not ready', async () => {
    stage.replica.state = 'restarting'
    const error = await refusal({})
    expect(error).toMatchObject({ code: 'DEPLOYMENT_NOT_READY', status: 503, retryAfterSeconds: 5 })
  })

  it('when the queue is full, with the time that the recent pace gives', async () => {
    const first = await stage.read({ numChoices: 3 })
    expect(await refusal({})).toMatchObject({ status: 429, retryAfterSeconds: 5 })
    stage.replica.update(0, { finish: 'length' })
    stage.clock.advance(4000)
    stage.replica.update(1, { finish: 'length' })
    // Two ended in four seconds, and one more must end.
    expect(await refusal({ numChoices: 3 })).toMatchObject({
      code: 'DEPLOYMENT_OVERLOADED',
      retryAfterSeconds: 2,
    })
    stage.replica.update(2, { finish: 'length' })
    expect(await first.ended).toBeUndefined()
    await stage.read({ numChoices: 3 })
    expect(stage.replica.numLive).toBe(3)
  })

  it('when the queue is full, with the time that the engine predicts where it does', async () => {
    await stage.read({ numChoices: 3 })
    stage.replica.admissionMs = 3200
    expect(await refusal({})).toMatchObject({ status: 429, retryAfterSeconds: 4 })
    expect(await refusal({ numChoices: 2 })).toMatchObject({ retryAfterSeconds: 7 })
    stage.replica.admissionMs = 1e9
    expect(await refusal({})).toMatchObject({ retryAfterSeconds: 600 })
  })

  it('when it has more choices than could ever run or wait', async () => {
    expect((await refusal({ numChoices: 4 })).code).toBe('REQUEST_TOO_MANY_CHOICES')
  })

  it('when the replica refuses, and gives its place back', async () => {
    const { refusal: reason } = Object.assign(stage.replica, {
      refusal: new ServingError('X_GONE', { status: 503, retryable: true, message: 'gone' }),
    })
    expect(await refusal({ numChoices: 3 })).toBe(reason)
    stage.replica.refusal = null
    await stage.read({ numChoices: 3 })
    expect(stage.replica.numLive).toBe(3)
  })
})

describe('a request ends early', () => {
  it('when it is aborted: all sequences are cancelled at once, and the iterable throws', async () => {
    const { controller, ended } = await stage.read({ numChoices: 2 })
    const reason = new Error('hung up')
    controller.abort(reason)
    expect(stage.replica.cancelled).toEqual([1, 2])
    expect(await ended).toBe(reason)
  })

  it('when it was aborted before it began', async () => {
    const controller = new AbortController()
    controller.abort(new Error('gone'))
    const iterator = stage.deployment.generate(request(), controller.signal)[Symbol.asyncIterator]()
    await expect(iterator.next()).rejects.toThrow('gone')
    expect(stage.replica.submitted).toEqual([])
  })

  it('when its reader leaves', async () => {
    const iterator = stage.deployment
      .generate(request(), new AbortController().signal)
      [Symbol.asyncIterator]()
    await iterator.next()
    await iterator.return?.()
    expect(stage.replica.cancelled).toEqual([1])
    expect(await iterator.next()).toEqual({ done: true, value: undefined })
  })

  it('keeps its place in admission until the engine has let go', async () => {
    const { controller } = await stage.read({ numChoices: 3 })
    controller.abort()
    expect((await refusal({})).status).toBe(429)
    for (const index of [0, 1, 2]) stage.replica.update(index, { finish: 'cancelled' })
    await stage.read({ numChoices: 3 })
    expect(stage.replica.submitted).toHaveLength(6)
  })

  it('with the error of a sequence, cancelling the others', async () => {
    const { ended } = await stage.read({ numChoices: 2 })
    const error = new ServingError('X', { status: 500, retryable: true, message: 'bad row' })
    stage.replica.update(0, { finish: 'error', error: error.toWire() })
    expect(await ended).toMatchObject({ code: 'X', status: 500 })
    expect(stage.replica.cancelled).toEqual([2])
  })

  it('when the replica is lost, after what was already read', async () => {
    const { events, ended } = await stage.read()
    stage.replica.update(0, { tokenIds: idsOf('a') })
    stage.replica.lose(0, new ServingError('W', { status: 503, retryable: true, message: 'died' }))
    expect(await ended).toMatchObject({ code: 'W', status: 503 })
    expect(textOf(events)).toBe('a')
    expect((await stage.read({ numChoices: 3 })).events).toHaveLength(1)
  })
})

describe('draining', () => {
  it('refuses new requests and waits for open ones', async () => {
    const { ended } = await stage.read()
    const drained = stage.deployment.drain(60_000)
    expect((await refusal({})).code).toBe('DEPLOYMENT_DRAINING')
    stage.replica.update(0, { tokenIds: idsOf('a'), finish: 'length' })
    expect(await drained).toBe(0)
    expect(await ended).toBeUndefined()
  })

  it('cancels what runs after the grace period, and readers see it as cancelled', async () => {
    const { events, ended } = await stage.read()
    const drained = stage.deployment.drain(0)
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(stage.replica.cancelled).toEqual([1])
    stage.replica.update(0, { finish: 'cancelled' })
    expect(await drained).toBe(1)
    expect(await ended).toBeUndefined()
    expect(events.at(-2)).toMatchObject({ type: 'finished', reason: 'cancelled' })
  })
})
