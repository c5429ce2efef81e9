import { beforeEach, describe, expect, it } from 'vitest'
import { affinityKey, cacheDomain } from '../../../src/deployment/cache-domain.ts'
import type { GenerationEvent } from '../../../src/deployment/generation.ts'
import { engineError } from '../../../src/engine/errors.ts'
import { DEFAULT_SAMPLING_PARAMS } from '../../../src/sampling/sampling-params.ts'
import type { LogprobEntry, SequenceTiming } from '../../../src/worker/messages.ts'
import { END_ID, idsOf } from '../../support/byte-tokenizer.ts'
import {
  DeploymentStage,
  FINGERPRINT,
  request,
  settle,
  textOf,
} from '../../support/deployment-stage.ts'

const FIRST: SequenceTiming = {
  queueMs: 3,
  prefillMs: 7,
  totalMs: 10,
  numPreemptions: 0,
  numCachedTokens: 0,
  numAcceptedDrafts: 0,
  numRejectedDrafts: 0,
}

let stage: DeploymentStage
beforeEach(() => {
  stage = new DeploymentStage()
})

function entry(tokenId: number): LogprobEntry {
  return { tokenId, logprob: -0.5, rank: 1, topIds: [tokenId, 65], topLogprobs: [-0.5, -1] }
}

describe('a request', () => {
  it('that limits its wait is begun when the engine has let it in, and refused whole before', async () => {
    const patient = await stage.read({ maxQueueMs: 100, serviceTier: 'flex' })
    expect(stage.replica.submitted[0]).toMatchObject({ maxQueueMs: 100, tier: 'flex' })
    expect(patient.events).toEqual([])
    stage.replica.update(0, { tokenIds: idsOf('o'), timing: FIRST })
    await settle()
    expect(patient.events.map(({ type }) => type)).toEqual(['started', 'delta'])
    const refused = await stage.read({ maxQueueMs: 100 })
    const error = engineError('ENGINE_QUEUE_TIMEOUT', { retryAfterSeconds: 2 }).toWire()
    stage.replica.update(1, { finish: 'error', error })
    expect(await refused.ended).toMatchObject({ status: 429, retryAfterSeconds: 2 })
    expect(refused.events).toEqual([])
  })

  it('counts as cached what every one of its choices found', async () => {
    const { events, ended } = await stage.read({ numChoices: 2 })
    for (const [choice, numCachedTokens] of [
      [1, 2],
      [0, 1],
    ] as const) {
      const drafts = { numAcceptedDrafts: 3, numRejectedDrafts: choice }
      const timing = { ...FIRST, numCachedTokens, ...drafts }
      stage.replica.update(choice, { tokenIds: [END_ID], finish: 'length', timing })
    }
    await ended
    expect(events.at(-1)).toMatchObject({
      usage: { cachedPromptTokens: 1, acceptedDraftTokens: 6, rejectedDraftTokens: 1 },
    })
  })

  it('gives all choices one cache key, made of the caller’s', async () => {
    const { ended } = await stage.read({ cacheKey: 'mine', numChoices: 2 })
    const cacheKey = affinityKey({ principal: 'local', cacheKey: 'mine' })
    expect(stage.replica.submitted).toMatchObject([{ cacheKey }, { cacheKey }])
    for (const choice of [0, 1]) stage.replica.update(choice, { finish: 'length', timing: FIRST })
    await ended
  })

  it('goes from started over deltas to finished and done', async () => {
    const { events, ended } = await stage.read()
    expect(stage.replica.submitted).toEqual([
      {
        id: 1,
        choice: 0,
        promptIds: Int32Array.from(idsOf('hi')),
        params: { ...DEFAULT_SAMPLING_PARAMS, seed: 5n, maxTokens: 8 },
        cacheDomain: cacheDomain({ principal: 'local', cacheSalt: null }),
        tier: 'default',
        tenant: 'local',
        maxQueueMs: null,
      },
    ])
    expect(events.map(({ type }) => type)).toEqual(['started'])
    stage.replica.update(0, { tokenIds: idsOf('o'), timing: FIRST })
    stage.replica.update(0, { tokenIds: idsOf('k') })
    stage.clock.advance(30)
    stage.replica.update(0, {
      tokenIds: [END_ID],
      finish: 'stop',
      stopTokenId: END_ID,
      timing: FIRST,
    })
    expect(await ended).toBeUndefined()
    expect(events).toEqual([
      {
        type: 'started',
        modelId: 'tiny',
        systemFingerprint: FINGERPRINT,
        promptTokenIds: Int32Array.from(idsOf('hi')),
        promptText: 'hi',
      },
      { type: 'delta', choice: 0, text: 'o', tokenIds: idsOf('o'), logprobs: null },
      { type: 'delta', choice: 0, text: 'k', tokenIds: idsOf('k'), logprobs: null },
      { type: 'delta', choice: 0, text: '', tokenIds: [END_ID], logprobs: null },
      { type: 'finished', choice: 0, reason: 'stop', stopString: null, stopTokenId: END_ID },
      {
        type: 'done',
        usage: {
          promptTokens: 2,
          cachedPromptTokens: 0,
          completionTokens: 3,
          acceptedDraftTokens: 0,
          rejectedDraftTokens: 0,
        },
        timing: { queueMs: 3, prefillMs: 7, decodeMs: 20, totalMs: 30 },
        seed: 5n,
      },
    ])
  })

  it('renders a chat with the template and encodes it', async () => {
    const messages = [{ role: 'user', content: 'yo' }]
    const { events } = await stage.read({ input: { kind: 'chat', messages, tools: null } })
    expect(events[0]).toMatchObject({
      promptText: 'yo>',
      promptTokenIds: Int32Array.from(idsOf('yo>')),
    })
  })

  it('holds a half character back, and says U+FFFD when the end cuts it', async () => {
    const { events, ended } = await stage.read()
    const [a = 0, b = 0, c = 0] = idsOf('好')
    stage.replica.update(0, { tokenIds: [a] })
    stage.replica.update(0, { tokenIds: [b] })
    stage.replica.update(0, { tokenIds: [c] })
    stage.replica.update(0, { tokenIds: [a], finish: 'length' })
    await ended
    const texts = events.flatMap((event) => (event.type === 'delta' ? [event.text] : []))
    expect(texts).toEqual(['', '', '好', '\uFFFD'])
  })

  it('ends at a stop string across tokens, cancels the sequence, and drops what comes after', async () => {
    const { events, ended } = await stage.read({ stop: ['END'] })
    for (const letter of 'a E') stage.replica.update(0, { tokenIds: idsOf(letter) })
    await settle()
    expect(textOf(events)).toBe('a ')
    stage.replica.update(0, { tokenIds: idsOf('N') })
    stage.replica.update(0, { tokenIds: idsOf('D') })
    expect(stage.replica.cancelled).toEqual([1])
    stage.replica.update(0, { tokenIds: idsOf('!') })
    await ended
    expect(textOf(events)).toBe('a ')
    expect(events.at(-2)).toEqual({
      type: 'finished',
      choice: 0,
      reason: 'stop',
      stopString: 'END',
      stopTokenId: null,
    })
    expect(events.at(-1)).toMatchObject({ usage: { completionTokens: 5 } })
  })

  it('gives held text out when it became no stop string', async () => {
    const { events, ended } = await stage.read({ stop: ['END'] })
    stage.replica.update(0, { tokenIds: idsOf('E'), finish: 'length' })
    await ended
    expect(textOf(events)).toBe('E')
  })

  it('looks for no stop string in the first minTokens tokens', async () => {
    const sampling = { ...DEFAULT_SAMPLING_PARAMS, minTokens: 2 }
    const { events, ended } = await stage.read({ stop: ['x'], sampling })
    for (const letter of 'xxy') stage.replica.update(0, { tokenIds: idsOf(letter) })
    stage.replica.update(0, { tokenIds: idsOf('x') })
    await ended
    expect(textOf(events)).toBe('xxy')
  })

  it('leaves the text of an ordinary stop token out', async () => {
    const { events, ended } = await stage.read()
    const [z = 0] = idsOf('z')
    stage.replica.update(0, { tokenIds: [z], finish: 'stop', stopTokenId: z })
    await ended
    expect(textOf(events)).toBe('')
    expect(events.at(-1)).toMatchObject({ usage: { completionTokens: 1 } })
  })

  it('runs n choices on one prompt, and ends when the last one has', async () => {
    const { events, ended } = await stage.read({ numChoices: 2 })
    expect(stage.replica.submitted.map(({ choice }) => choice)).toEqual([0, 1])
    stage.replica.update(1, { tokenIds: idsOf('b'), finish: 'length' })
    await settle()
    expect(events.at(-1)?.type).toBe('finished')
    stage.replica.update(0, { tokenIds: idsOf('a'), finish: 'length' })
    await ended
    expect([textOf(events, 0), textOf(events, 1)]).toEqual(['a', 'b'])
    expect(events.at(-1)).toMatchObject({ type: 'done', usage: { completionTokens: 2 } })
  })

  it('gives logprobs with text and bytes', async () => {
    const sampling = { ...DEFAULT_SAMPLING_PARAMS, topLogprobs: 2 }
    const { events, ended } = await stage.read({ sampling })
    const [o = 0] = idsOf('o')
    stage.replica.update(0, { tokenIds: [o], logprobs: [entry(o)], finish: 'length' })
    await ended
    const delta = events.find(({ type }) => type === 'delta')
    expect(delta).toMatchObject({
      logprobs: [
        {
          tokenId: o,
          text: 'o',
          bytes: Buffer.from('o'),
          logprob: -0.5,
          rank: 1,
          top: [
            { tokenId: o, text: 'o', logprob: -0.5 },
            { tokenId: 65, text: 'A', logprob: -1 },
          ],
        },
      ],
    })
  })

  it('gives the prompt’s logprobs once, before any delta of any choice', async () => {
    const sampling = { ...DEFAULT_SAMPLING_PARAMS, promptLogprobs: 1 }
    const input = { kind: 'text', text: 'abc' } as const
    const { events, ended } = await stage.read({ sampling, input, numChoices: 2 })
    expect(stage.replica.submitted.map(({ params }) => params.promptLogprobs)).toEqual([1, null])
    stage.replica.update(1, { tokenIds: idsOf('x'), finish: 'length' })
    stage.replica.update(0, { promptLogprobs: [entry(98)] })
    await settle()
    expect(events.map(({ type }) => type)).toEqual(['started'])
    stage.replica.update(0, { promptLogprobs: [entry(99)], tokenIds: idsOf('y'), finish: 'length' })
    await ended
    expect(events.map(({ type }) => type)).toEqual([
      'started',
      'prompt-logprobs',
      'delta',
      'finished',
      'delta',
      'finished',
      'done',
    ])
    expect(events[1]).toMatchObject({ entries: [null, { text: 'b' }, { text: 'c' }] })
  })

  it('gives the logprobs of a prompt of one token', async () => {
    const sampling = { ...DEFAULT_SAMPLING_PARAMS, promptLogprobs: 0 }
    const { events } = await stage.read({ sampling, input: { kind: 'text', text: 'a' } })
    expect(events[1]).toEqual({ type: 'prompt-logprobs', entries: [null] })
  })

  it('draws a seed that survives JSON numbers when none is given', async () => {
    await stage.read({ seed: null })
    const seed = stage.replica.submitted[0]?.params.seed ?? -1n
    expect(seed >= 0n && seed <= BigInt(Number.MAX_SAFE_INTEGER)).toBe(true)
  })

  it('may use the rest of the context when it names no limit', async () => {
    await stage.read({ maxTokens: null })
    expect(stage.replica.submitted[0]?.params.maxTokens).toBe(18)
  })
})

describe('a slow reader', () => {
  it('gets everything, in fewer and larger pieces', async () => {
    const iterable = stage.deployment.generate(
      request({ maxTokens: 18 }),
      new AbortController().signal,
    )
    const iterator = iterable[Symbol.asyncIterator]()
    await iterator.next()
    for (let i = 0; i < 5000; i += 1) stage.replica.update(0, { tokenIds: idsOf('ab') })
    stage.replica.update(0, { finish: 'length' })
    const events: GenerationEvent[] = []
    for (;;) {
      const { done, value } = await iterator.next()
      if (done) break
      events.push(value)
    }
    expect(textOf(events)).toBe('ab'.repeat(5000))
    expect(events.length).toBeLessThan(300)
    expect(events.flatMap((event) => (event.type === 'delta' ? event.tokenIds : []))).toHaveLength(
      10_000,
    )
  })
})
