import { describe, expect, it } from 'vitest'
import { InvariantError } from '../../../src/base/errors.ts'
import type { SequenceId } from '../../../src/base/ids.ts'
import { lastOf, makeSpec, makeTestEngine, tokensOf } from '../../support/engine-builders.ts'
import { nextTokenOf } from '../../support/fake-executor.ts'

const id = (value: number) => value as SequenceId
const code = (value: string) => expect.objectContaining({ code: value })

/** What follows a prompt of zeros under the builders' default seed. */
function zerosAnswer(promptTokens: number, count: number): number[] {
  const tokenIds = new Array<number>(promptTokens).fill(0)
  const { params } = makeSpec(1)
  while (tokenIds.length < promptTokens + count) tokenIds.push(nextTokenOf(tokenIds, params, 0, 2))
  return tokenIds.slice(promptTokens)
}

describe('EngineCore', () => {
  it('draws until maxTokens and says length', async () => {
    const { core, drain } = makeTestEngine()
    core.add(makeSpec(1, { promptTokens: 3, maxTokens: 6 }))
    const updates = await drain()
    expect(tokensOf(updates, 1)).toEqual(zerosAnswer(3, 6))
    expect(updates).toHaveLength(6)
    expect(lastOf(updates, 1)).toMatchObject({ finish: 'length', stopTokenId: null, error: null })
  })

  it('ends with length where the context ends, whatever maxTokens says', async () => {
    const { core, drain } = makeTestEngine({ maxContextTokens: 8 })
    core.add(makeSpec(1, { promptTokens: 3, maxTokens: 100 }))
    const updates = await drain()
    expect(tokensOf(updates, 1)).toHaveLength(5)
    expect(lastOf(updates, 1)?.finish).toBe('length')
  })

  it('says nothing while a long prompt is computed in chunks', async () => {
    const { core, drain } = makeTestEngine({ limits: { maxNumBatchedTokens: 4 } })
    core.add(makeSpec(1, { promptTokens: 10, maxTokens: 1 }))
    expect(await core.step()).toEqual({ updates: [] })
    expect(await core.step()).toEqual({ updates: [] })
    expect(tokensOf(await drain(), 1)).toEqual(zerosAnswer(10, 1))
  })

  it('stops at an end-of-sequence token and at the request’s own, and tells which', async () => {
    const answer = zerosAnswer(3, 8)
    const firstOne = answer.indexOf(1)
    const { core, drain } = makeTestEngine({ eosTokenIds: [1] })
    core.add(makeSpec(1))
    core.add(makeSpec(2, { ignoreEos: true }))
    core.add(makeSpec(3, { ignoreEos: true, stopTokenIds: [1] }))
    const updates = await drain()
    for (const stopped of [1, 3]) {
      expect(tokensOf(updates, stopped)).toEqual(answer.slice(0, firstOne + 1))
      expect(lastOf(updates, stopped)).toMatchObject({ finish: 'stop', stopTokenId: 1 })
    }
    expect(tokensOf(updates, 2)).toEqual(answer)
    expect(lastOf(updates, 2)?.finish).toBe('length')
  })

  it('has the end-of-sequence ids masked before minTokens, and does not stop at them before', async () => {
    const { core, executor, drain } = makeTestEngine({ eosTokenIds: [0, 1] })
    core.add(makeSpec(1, { minTokens: 4, stopTokenIds: [1] }))
    executor.duringExecute = () => {
      expect(executor.samplers.get(0)?.params.stopTokenIds).toEqual([1, 0])
    }
    const updates = await drain()
    // The fake draws zeros and ones only, so the fifth token, the first that may be a stop, is one.
    expect(tokensOf(updates, 1)).toHaveLength(5)
    expect(lastOf(updates, 1)?.finish).toBe('stop')
  })

  it('reports times on the first token and on the last', async () => {
    const { core, clock, executor, drain } = makeTestEngine({ limits: { maxNumSeqs: 1 } })
    executor.duringExecute = () => {
      clock.ms += 10
    }
    core.add(makeSpec(1, { maxTokens: 3 }))
    core.add(makeSpec(2, { maxTokens: 1 }))
    const updates = await drain()
    const drafts = { numAcceptedDrafts: 0, numRejectedDrafts: 0 }
    const timing = { numPreemptions: 0, numCachedTokens: 0, ...drafts }
    expect(updates.map((update) => update.timing)).toEqual([
      { queueMs: 0, prefillMs: 10, totalMs: 10, ...timing },
      null,
      { queueMs: 0, prefillMs: 10, totalMs: 30, ...timing },
      { queueMs: 30, prefillMs: 10, totalMs: 40, ...timing },
    ])
  })

  it('gives logprobs of drawn tokens and, over all chunks, of the prompt from position 1 on', async () => {
    const { core, drain } = makeTestEngine({ limits: { maxNumBatchedTokens: 4 } })
    core.add(
      makeSpec(1, {
        promptIds: [1, 0, 0, 1, 1, 0],
        maxTokens: 2,
        topLogprobs: 1,
        promptLogprobs: 2,
      }),
    )
    const updates = await drain()
    const prompt = updates.flatMap((update) => update.promptLogprobs ?? [])
    expect(prompt.map((entry) => entry.tokenId)).toEqual([0, 0, 1, 1, 0])
    expect(prompt.every((entry) => entry.topIds.length === 2 && entry.logprob < 0)).toBe(true)
    const drawn = updates.flatMap((update) => update.logprobs ?? [])
    expect(drawn.map((entry) => entry.tokenId)).toEqual(tokensOf(updates, 1))
    expect(drawn.map((entry) => entry.topIds)).toEqual([[0], [0]])
  })

  describe('refuses at the door', () => {
    const { core } = makeTestEngine({ limits: { numBlocks: 4, maxBlocksPerSeq: 8 } })
    it.each([
      ['an empty prompt', { promptTokens: 0 }, 'ENGINE_EMPTY_PROMPT'],
      ['a prompt that fills the context', { promptTokens: 32 }, 'ENGINE_CONTEXT_TOO_LONG'],
      [
        'what the pool can never hold',
        { promptTokens: 10, maxTokens: 8 },
        'ENGINE_SEQUENCE_NEVER_FITS',
      ],
      ['an unknown prompt token', { promptIds: [0, 2] }, 'ENGINE_TOKEN_OUT_OF_RANGE'],
      ['a negative prompt token', { promptIds: [-1] }, 'ENGINE_TOKEN_OUT_OF_RANGE'],
      ['an unknown stop token', { stopTokenIds: [2] }, 'ENGINE_TOKEN_OUT_OF_RANGE'],
      ['an unknown biased token', { logitBias: [[7, 1]] as const }, 'ENGINE_TOKEN_OUT_OF_RANGE'],
    ])('%s', (_, parts, expected) => {
      expect(() => core.add(makeSpec(1, parts))).toThrow(code(expected))
      expect(core.hasWork).toBe(false)
    })

    it('nothing that fits to the last slot', async () => {
      const exact = makeTestEngine({ limits: { numBlocks: 4, maxBlocksPerSeq: 8 } })
      exact.core.add(makeSpec(1, { promptTokens: 10, maxTokens: 7 }))
      expect(tokensOf(await exact.drain(), 1)).toHaveLength(7)
      expect(exact.core.stats().numPreemptions).toBe(0)
    })

    it('an id that is in use', () => {
      const busy = makeTestEngine()
      busy.core.add(makeSpec(1))
      expect(() => busy.core.add(makeSpec(1))).toThrow(InvariantError)
    })

    it('a context that a block table cannot hold', () => {
      expect(() => makeTestEngine({ maxContextTokens: 66 })).toThrow(code('ENGINE_BAD_LIMITS'))
      expect(() => makeTestEngine({ maxContextTokens: 1 })).toThrow(code('ENGINE_BAD_LIMITS'))
    })
  })

  describe('cancel', () => {
    it('frees a running sequence at once between steps', async () => {
      const { core, executor, drain } = makeTestEngine()
      core.add(makeSpec(1))
      await core.step()
      core.cancel(id(1))
      expect(core.stats()).toMatchObject({ numRunning: 0, numFreeBlocks: 16 })
      expect(executor.samplers.size).toBe(0)
      const updates = await drain()
      expect(updates).toMatchObject([{ id: 1, finish: 'cancelled', tokenIds: [] }])
      expect(executor.numExecutions).toBe(1)
    })

    it('takes effect at the end of a step under way, whose token is dropped', async () => {
      const { core, executor } = makeTestEngine()
      core.add(makeSpec(1))
      core.add(makeSpec(2))
      executor.duringExecute = () => {
        core.cancel(id(1))
        core.cancel(id(1))
      }
      const { updates } = await core.step()
      expect(updates).toMatchObject([
        { id: 1, finish: 'cancelled', tokenIds: [] },
        { id: 2, finish: null },
      ])
      expect(core.stats()).toMatchObject({
        numRunning: 1,
        numCachedBlocks: 0,
        predictedWaitMs: 0,
        numFreeBlocks: 15,
        numGeneratedTokens: 1,
      })
      core.checkIntegrity()
    })

    it('takes a waiting sequence out, also while a step is under way', async () => {
      const { core, executor, drain } = makeTestEngine({ limits: { maxNumSeqs: 1 } })
      core.add(makeSpec(1, { maxTokens: 1 }))
      core.add(makeSpec(2))
      executor.duringExecute = () => core.cancel(id(2))
      const updates = await drain()
      expect(lastOf(updates, 2)).toMatchObject({ finish: 'cancelled', timing: { queueMs: 0 } })
      expect(executor.numExecutions).toBe(1)
    })

    it('ignores ids that have ended or never were', async () => {
      const { core, drain } = makeTestEngine()
      core.add(makeSpec(1, { maxTokens: 1 }))
      await drain()
      core.cancel(id(1))
      core.cancel(id(99))
      expect(core.hasWork).toBe(false)
    })
  })

  describe('when something fails', () => {
    it('ends the sequences of a step that the executor rejects, and goes on with the others', async () => {
      const { core, executor, drain } = makeTestEngine({ limits: { maxNumSeqs: 2 } })
      for (const each of [1, 2, 3]) core.add(makeSpec(each, { maxTokens: 2 }))
      executor.failure = new Error('out of memory')
      const updates = await drain()
      for (const failed of [1, 2]) {
        expect(lastOf(updates, failed)).toMatchObject({
          finish: 'error',
          error: {
            code: 'ENGINE_STEP_FAILED',
            retryable: true,
            details: { reason: 'out of memory' },
          },
        })
      }
      expect(tokensOf(updates, 3)).toEqual(zerosAnswer(3, 2))
      expect(core.stats()).toMatchObject({ numRunning: 0, numFreeBlocks: 16 })
    })

    it('ends only the sequence whose row cannot be drawn from', async () => {
      const { core, executor, drain } = makeTestEngine()
      core.add(makeSpec(1))
      core.add(makeSpec(2))
      executor.unusableSlots.add(0)
      const updates = await drain()
      expect(lastOf(updates, 1)).toMatchObject({
        finish: 'error',
        tokenIds: [],
        error: { code: 'ENGINE_BAD_LOGITS', details: { position: 3 } },
      })
      expect(tokensOf(updates, 2)).toEqual(zerosAnswer(3, 8))
    })

    it('ends only the sequence whose sampler is refused', async () => {
      const { core, executor, drain } = makeTestEngine()
      const bind = executor.addSequence.bind(executor)
      executor.addSequence = (slot, params, choice, promptIds, outputIds) => {
        if (choice === 1) throw new Error('no such thing')
        bind(slot, params, choice, promptIds, outputIds)
      }
      core.add(makeSpec(1, { choice: 1 }))
      core.add(makeSpec(2))
      const updates = await drain()
      expect(lastOf(updates, 1)?.error).toMatchObject({ code: 'ENGINE_SAMPLER_REFUSED' })
      expect(tokensOf(updates, 2)).toEqual(zerosAnswer(3, 8))
      expect(core.stats().numFreeBlocks).toBe(16)
    })

    it('survives a refused sampler as the only sequence', async () => {
      const { core, executor, drain } = makeTestEngine()
      executor.addSequence = () => {
        throw new Error('no such thing')
      }
      core.add(makeSpec(1))
      expect(await drain()).toMatchObject([{ id: 1, finish: 'error' }])
    })

    it('stops for good when an invariant breaks', async () => {
      const { core, executor } = makeTestEngine()
      core.add(makeSpec(1))
      executor.failure = new InvariantError('X1', 'the sky fell')
      await expect(core.step()).rejects.toThrow('invariant X1')
      await expect(core.step()).rejects.toThrow('invariant X1')
      expect(() => core.add(makeSpec(2))).toThrow('invariant X1')
    })

    it('takes an unexpected error inside a step for a broken invariant', async () => {
      const { core, executor } = makeTestEngine()
      core.add(makeSpec(1, { maxTokens: 1 }))
      executor.removeSequence = () => {
        throw new TypeError('not a slot')
      }
      await expect(core.step()).rejects.toThrow('invariant E3 is broken: not a slot')
    })

    it('refuses a second step while one is under way', async () => {
      const { core, executor } = makeTestEngine()
      core.add(makeSpec(1))
      const second: Promise<unknown>[] = []
      executor.duringExecute = () => {
        second.push(expect(core.step()).rejects.toThrow('invariant E3'))
      }
      await core.step().catch(() => undefined)
      await Promise.all(second)
    })
  })

  it('recomputes after preemption without drawing or reporting anything twice', async () => {
    const { core, drain } = makeTestEngine({ limits: { numBlocks: 4 } })
    core.add(makeSpec(1, { promptTokens: 7, maxTokens: 9 }))
    core.add(makeSpec(2, { promptTokens: 7, maxTokens: 9, promptLogprobs: 0 }))
    const updates = await drain()
    expect(tokensOf(updates, 1)).toEqual(zerosAnswer(7, 9))
    expect(tokensOf(updates, 2)).toEqual(zerosAnswer(7, 9))
    expect(updates.flatMap((update) => update.promptLogprobs ?? [])).toHaveLength(6)
    expect(lastOf(updates, 2)?.timing?.numPreemptions).toBe(1)
    expect(core.stats()).toMatchObject({
      numPreemptions: 1,
      numPromptTokens: 14,
      numGeneratedTokens: 18,
    })
  })

  it('returns at once, without computing, when there is no work', async () => {
    const { core, executor } = makeTestEngine()
    expect(core.hasWork).toBe(false)
    expect(await core.step()).toEqual({ updates: [] })
    expect(executor.numExecutions).toBe(0)
  })

  it('counts what it did', async () => {
    const { core, executor, clock } = makeTestEngine()
    executor.duringExecute = () => {
      clock.ms += 5
    }
    core.add(makeSpec(1, { promptTokens: 3, maxTokens: 8 }))
    core.add(makeSpec(2, { promptTokens: 2, maxTokens: 8 }))
    await core.step()
    expect(core.stats()).toEqual({
      numRunning: 2,
      numWaiting: 0,
      numFreeBlocks: 14,
      numCachedBlocks: 0,
      numBlocks: 16,
      numSteps: 1,
      numPreemptions: 0,
      numPromptTokens: 5,
      numGeneratedTokens: 2,
      numDraftTokens: 0,
      numAcceptedDrafts: 0,
      predictedWaitMs: 0,
      stepMs: 5,
      numScheduledTokens: 5,
      numCopiedTails: 0,
      numSwappedOutBlocks: 0,
      numSwappedInBlocks: 0,
      numRestoredTokens: 0,
      tier: null,
    })
  })
})
