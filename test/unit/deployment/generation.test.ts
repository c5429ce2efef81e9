import { beforeEach, describe, expect, it } from 'vitest'
import { ServingError } from '../../../src/base/errors.ts'
import type { RequestId } from '../../../src/base/ids.ts'
import type { GenerationEvent, GenerationRequest } from '../../../src/deployment/generation.ts'
import { ModelDeployment } from '../../../src/deployment/model-deployment.ts'
import { SequenceIds } from '../../../src/deployment/sequence-ids.ts'
import { SingleModelDeployments } from '../../../src/deployment/single-model-deployments.ts'
import { DEFAULT_SAMPLING_PARAMS } from '../../../src/sampling/sampling-params.ts'
import { ChatTemplate } from '../../../src/text/chat-template.ts'
import type {
  EngineDescription,
  LogprobEntry,
  SequenceTiming,
} from '../../../src/worker/messages.ts'
import { ByteTokenizer, END_ID, idsOf } from '../../support/byte-tokenizer.ts'
import { ManualClock } from '../../support/manual-clock.ts'
import { ScriptedReplica } from '../../support/scripted-replica.ts'

const FIRST: SequenceTiming = {
  queueMs: 3,
  prefillMs: 7,
  totalMs: 10,
  numPreemptions: 0,
  numCachedTokens: 0,
}
const DESCRIPTION: EngineDescription = {
  modelType: 'llama',
  vocabSize: 257,
  maxContextTokens: 20,
  numBlocks: 7,
  blockSize: 16,
  kvBytesPerToken: 4,
  weightsBytes: 1,
  kernels: 'scalar',
  ortVersion: '1',
  loadMs: 1,
}
const FINGERPRINT = 'ingot-9.9.9-abcdef01'

let clock: ManualClock
let replica: ScriptedReplica
let deployment: ModelDeployment

beforeEach(() => {
  clock = new ManualClock()
  replica = new ScriptedReplica()
  const ids = new SequenceIds()
  deployment = new ModelDeployment({
    card: {
      id: 'tiny',
      aliases: ['small'],
      created: 0,
      ownedBy: 'test',
      digest: 'sha256:00',
      quantization: 'F32',
      servingConfigDigest: 'sha256:abcdef0123',
      maxContextTokens: 20,
      vocabSize: 257,
      hasChatTemplate: true,
    },
    version: '9.9.9',
    tokenizer: new ByteTokenizer(),
    template: new ChatTemplate({
      chatTemplates: new Map([['default', '{{ messages[0].content }}>']]),
      specialTokens: {},
    }),
    replica,
    ready: Promise.resolve(DESCRIPTION),
    maxNumSeqs: 2,
    maxQueuedSequences: 1,
    clock,
    nextSequenceId: () => ids.next(),
  })
})

function ask(change: Partial<GenerationRequest> = {}): GenerationRequest {
  return {
    id: 'req-1' as RequestId,
    requestedModel: 'tiny',
    principal: 'local',
    input: { kind: 'text', text: 'hi' },
    sampling: { ...DEFAULT_SAMPLING_PARAMS },
    seed: 5n,
    maxTokens: 8,
    numChoices: 1,
    stop: [],
    ...change,
  }
}

interface Reading {
  readonly events: GenerationEvent[]
  /** Settles when the iterable ends; the error it threw, if any. */
  readonly ended: Promise<unknown>
  readonly controller: AbortController
}

/** Starts a request and waits until it was handed to the replica, or refused. */
async function read(change: Partial<GenerationRequest> = {}): Promise<Reading> {
  const controller = new AbortController()
  const events: GenerationEvent[] = []
  const iterable = deployment.generate(ask(change), controller.signal)
  const ended = (async () => {
    try {
      for await (const event of iterable) events.push(event)
    } catch (error) {
      return error
    }
    return undefined
  })()
  await settle()
  return { events, ended, controller }
}

/** Lets everything run that waits for nothing but its turn. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

function textOf(events: readonly GenerationEvent[], choice = 0): string {
  return events
    .map((event) => (event.type === 'delta' && event.choice === choice ? event.text : ''))
    .join('')
}

function entry(tokenId: number): LogprobEntry {
  return { tokenId, logprob: -0.5, rank: 1, topIds: [tokenId, 65], topLogprobs: [-0.5, -1] }
}

async function refusal(change: Partial<GenerationRequest>): Promise<ServingError> {
  const { events, ended } = await read(change)
  expect(events).toEqual([])
  const error = await ended
  if (error instanceof ServingError) return error
  throw new Error('expected a ServingError', { cause: error })
}

describe('a request', () => {
  it('goes from started over deltas to finished and done', async () => {
    const { events, ended } = await read()
    expect(replica.submitted).toEqual([
      {
        id: 1,
        choice: 0,
        promptIds: Int32Array.from(idsOf('hi')),
        params: { ...DEFAULT_SAMPLING_PARAMS, seed: 5n, maxTokens: 8 },
      },
    ])
    expect(events.map(({ type }) => type)).toEqual(['started'])
    replica.update(0, { tokenIds: idsOf('o'), timing: FIRST })
    replica.update(0, { tokenIds: idsOf('k') })
    clock.advance(30)
    replica.update(0, { tokenIds: [END_ID], finish: 'stop', stopTokenId: END_ID, timing: FIRST })
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
        usage: { promptTokens: 2, cachedPromptTokens: 0, completionTokens: 3 },
        timing: { queueMs: 3, prefillMs: 7, decodeMs: 20, totalMs: 30 },
        seed: 5n,
      },
    ])
  })

  it('renders a chat with the template and encodes it', async () => {
    const messages = [{ role: 'user', content: 'yo' }]
    const { events } = await read({ input: { kind: 'chat', messages, tools: null } })
    expect(events[0]).toMatchObject({
      promptText: 'yo>',
      promptTokenIds: Int32Array.from(idsOf('yo>')),
    })
  })

  it('holds a half character back, and says U+FFFD when the end cuts it', async () => {
    const { events, ended } = await read()
    const [a = 0, b = 0, c = 0] = idsOf('好')
    replica.update(0, { tokenIds: [a] })
    replica.update(0, { tokenIds: [b] })
    replica.update(0, { tokenIds: [c] })
    replica.update(0, { tokenIds: [a], finish: 'length' })
    await ended
    const texts = events.flatMap((event) => (event.type === 'delta' ? [event.text] : []))
    expect(texts).toEqual(['', '', '好', '\uFFFD'])
  })

  it('ends at a stop string across tokens, cancels the sequence, and drops what comes after', async () => {
    const { events, ended } = await read({ stop: ['END'] })
    for (const letter of 'a E') replica.update(0, { tokenIds: idsOf(letter) })
    await settle()
    expect(textOf(events)).toBe('a ')
    replica.update(0, { tokenIds: idsOf('N') })
    replica.update(0, { tokenIds: idsOf('D') })
    expect(replica.cancelled).toEqual([1])
    replica.update(0, { tokenIds: idsOf('!') })
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
    const { events, ended } = await read({ stop: ['END'] })
    replica.update(0, { tokenIds: idsOf('E'), finish: 'length' })
    await ended
    expect(textOf(events)).toBe('E')
  })

  it('looks for no stop string in the first minTokens tokens', async () => {
    const sampling = { ...DEFAULT_SAMPLING_PARAMS, minTokens: 2 }
    const { events, ended } = await read({ stop: ['x'], sampling })
    for (const letter of 'xxy') replica.update(0, { tokenIds: idsOf(letter) })
    replica.update(0, { tokenIds: idsOf('x') })
    await ended
    expect(textOf(events)).toBe('xxy')
  })

  it('leaves the text of an ordinary stop token out', async () => {
    const { events, ended } = await read()
    const [z = 0] = idsOf('z')
    replica.update(0, { tokenIds: [z], finish: 'stop', stopTokenId: z })
    await ended
    expect(textOf(events)).toBe('')
    expect(events.at(-1)).toMatchObject({ usage: { completionTokens: 1 } })
  })

  it('runs n choices on one prompt, and ends when the last one has', async () => {
    const { events, ended } = await read({ numChoices: 2 })
    expect(replica.submitted.map(({ choice }) => choice)).toEqual([0, 1])
    replica.update(1, { tokenIds: idsOf('b'), finish: 'length' })
    await settle()
    expect(events.at(-1)?.type).toBe('finished')
    replica.update(0, { tokenIds: idsOf('a'), finish: 'length' })
    await ended
    expect([textOf(events, 0), textOf(events, 1)]).toEqual(['a', 'b'])
    expect(events.at(-1)).toMatchObject({ type: 'done', usage: { completionTokens: 2 } })
  })

  it('gives logprobs with text and bytes', async () => {
    const sampling = { ...DEFAULT_SAMPLING_PARAMS, topLogprobs: 2 }
    const { events, ended } = await read({ sampling })
    const [o = 0] = idsOf('o')
    replica.update(0, { tokenIds: [o], logprobs: [entry(o)], finish: 'length' })
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
    const { events, ended } = await read({ sampling, input, numChoices: 2 })
    expect(replica.submitted.map(({ params }) => params.promptLogprobs)).toEqual([1, null])
    replica.update(1, { tokenIds: idsOf('x'), finish: 'length' })
    replica.update(0, { promptLogprobs: [entry(98)] })
    await settle()
    expect(events.map(({ type }) => type)).toEqual(['started'])
    replica.update(0, { promptLogprobs: [entry(99)], tokenIds: idsOf('y'), finish: 'length' })
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
    const { events } = await read({ sampling, input: { kind: 'text', text: 'a' } })
    expect(events[1]).toEqual({ type: 'prompt-logprobs', entries: [null] })
  })

  it('draws a seed that survives JSON numbers when none is given', async () => {
    await read({ seed: null })
    const seed = replica.submitted[0]?.params.seed ?? -1n
    expect(seed >= 0n && seed <= BigInt(Number.MAX_SAFE_INTEGER)).toBe(true)
  })

  it('may use the rest of the context when it names no limit', async () => {
    await read({ maxTokens: null })
    expect(replica.submitted[0]?.params.maxTokens).toBe(18)
  })
})

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
    expect(replica.submitted).toEqual([])
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
    replica.state = 'restarting'
    const error = await refusal({})
    expect(error).toMatchObject({ code: 'DEPLOYMENT_NOT_READY', status: 503, retryAfterSeconds: 5 })
  })

  it('when the queue is full, with the time that the recent pace gives', async () => {
    const first = await read({ numChoices: 3 })
    expect(await refusal({})).toMatchObject({ status: 429, retryAfterSeconds: 5 })
    replica.update(0, { finish: 'length' })
    clock.advance(4000)
    replica.update(1, { finish: 'length' })
    // Two ended in four seconds, and one more must end.
    expect(await refusal({ numChoices: 3 })).toMatchObject({
      code: 'DEPLOYMENT_OVERLOADED',
      retryAfterSeconds: 2,
    })
    replica.update(2, { finish: 'length' })
    expect(await first.ended).toBeUndefined()
    await read({ numChoices: 3 })
    expect(replica.numLive).toBe(3)
  })

  it('when it has more choices than could ever run or wait', async () => {
    expect((await refusal({ numChoices: 4 })).code).toBe('REQUEST_TOO_MANY_CHOICES')
  })

  it('when the replica refuses, and gives its place back', async () => {
    const { refusal: reason } = Object.assign(replica, {
      refusal: new ServingError('X_GONE', { status: 503, retryable: true, message: 'gone' }),
    })
    expect(await refusal({ numChoices: 3 })).toBe(reason)
    replica.refusal = null
    await read({ numChoices: 3 })
    expect(replica.numLive).toBe(3)
  })
})

describe('a request ends early', () => {
  it('when it is aborted: all sequences are cancelled at once, and the iterable throws', async () => {
    const { controller, ended } = await read({ numChoices: 2 })
    const reason = new Error('hung up')
    controller.abort(reason)
    expect(replica.cancelled).toEqual([1, 2])
    expect(await ended).toBe(reason)
  })

  it('when it was aborted before it began', async () => {
    const controller = new AbortController()
    controller.abort(new Error('gone'))
    const iterator = deployment.generate(ask(), controller.signal)[Symbol.asyncIterator]()
    await expect(iterator.next()).rejects.toThrow('gone')
    expect(replica.submitted).toEqual([])
  })

  it('when its reader leaves', async () => {
    const iterator = deployment
      .generate(ask(), new AbortController().signal)
      [Symbol.asyncIterator]()
    await iterator.next()
    await iterator.return?.()
    expect(replica.cancelled).toEqual([1])
    expect(await iterator.next()).toEqual({ done: true, value: undefined })
  })

  it('keeps its place in admission until the engine has let go', async () => {
    const { controller } = await read({ numChoices: 3 })
    controller.abort()
    expect((await refusal({})).status).toBe(429)
    for (const index of [0, 1, 2]) replica.update(index, { finish: 'cancelled' })
    await read({ numChoices: 3 })
    expect(replica.submitted).toHaveLength(6)
  })

  it('with the error of a sequence, cancelling the others', async () => {
    const { ended } = await read({ numChoices: 2 })
    const error = new ServingError('X', { status: 500, retryable: true, message: 'bad row' })
    replica.update(0, { finish: 'error', error: error.toWire() })
    expect(await ended).toMatchObject({ code: 'X', status: 500 })
    expect(replica.cancelled).toEqual([2])
  })

  it('when the replica is lost, after what was already read', async () => {
    const { events, ended } = await read()
    replica.update(0, { tokenIds: idsOf('a') })
    replica.lose(0, new ServingError('W', { status: 503, retryable: true, message: 'died' }))
    expect(await ended).toMatchObject({ code: 'W', status: 503 })
    expect(textOf(events)).toBe('a')
    expect((await read({ numChoices: 3 })).events).toHaveLength(1)
  })
})

describe('draining', () => {
  it('refuses new requests and waits for open ones', async () => {
    const { ended } = await read()
    const drained = deployment.drain(60_000)
    expect((await refusal({})).code).toBe('DEPLOYMENT_DRAINING')
    replica.update(0, { tokenIds: idsOf('a'), finish: 'length' })
    expect(await drained).toBe(0)
    expect(await ended).toBeUndefined()
  })

  it('cancels what runs after the grace period, and readers see it as cancelled', async () => {
    const { events, ended } = await read()
    const drained = deployment.drain(0)
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(replica.cancelled).toEqual([1])
    replica.update(0, { finish: 'cancelled' })
    expect(await drained).toBe(1)
    expect(await ended).toBeUndefined()
    expect(events.at(-2)).toMatchObject({ type: 'finished', reason: 'cancelled' })
  })
})

describe('a slow reader', () => {
  it('gets everything, in fewer and larger pieces', async () => {
    const iterable = deployment.generate(ask({ maxTokens: 18 }), new AbortController().signal)
    const iterator = iterable[Symbol.asyncIterator]()
    await iterator.next()
    for (let i = 0; i < 5000; i += 1) replica.update(0, { tokenIds: idsOf('ab') })
    replica.update(0, { finish: 'length' })
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

describe('SingleModelDeployments', () => {
  it('finds the one model by its id and its aliases only', () => {
    const deployments = new SingleModelDeployments(deployment)
    expect(deployments.find('tiny')).toBe(deployment.card)
    expect(deployments.find('small')).toBe(deployment.card)
    expect(deployments.find('large')).toBeUndefined()
    expect(() => deployments.tokenText('large', 1)).toThrow(/served: tiny, small/)
    expect(deployments.decode('small', idsOf('é'))).toBe('é')
  })

  it('reports all blocks as free before the first step', async () => {
    await settle()
    const { replicas } = new SingleModelDeployments(deployment).health()
    expect(replicas[0]).toMatchObject({ numFreeBlocks: 7, numBlocks: 7, numRunning: 0 })
  })

  it.each([
    ['ready', 'ok'],
    ['starting', 'starting'],
    ['restarting', 'starting'],
    ['failed', 'down'],
    ['stopped', 'down'],
  ] as const)('says of a %s replica that it is %s', (state, status) => {
    replica.state = state
    expect(new SingleModelDeployments(deployment).health().status).toBe(status)
  })
})
