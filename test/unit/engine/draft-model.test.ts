import { describe, expect, it } from 'vitest'
import type { DraftParts } from '../../../src/engine/make-scheduler.ts'
import {
  makeSpec,
  makeTestEngine,
  type SpecParts,
  type TestEngine,
  tokensOf,
} from '../../support/engine-builders.ts'
import { FakeExecutor, makeLimits } from '../../support/fake-executor.ts'

const limits = makeLimits({
  vocabSize: 64,
  numBlocks: 256,
  maxBlocksPerSeq: 64,
  maxNumBatchedTokens: 64,
  maxLogitsRows: 48,
})
const ALWAYS_RIGHT = (tokenId: number): number => tokenId
const ALWAYS_WRONG = (tokenId: number): number => (tokenId + 1) % 64

interface Drafted extends TestEngine {
  readonly draft: FakeExecutor
  readonly failures: string[]
}

/** A target whose step takes 8 ms and a token 0.1, and a draft model whose step takes `draftMs`. */
function drafted(
  guess: FakeExecutor['guess'],
  { draftMs = 1, draftLimits = limits, maxDraftTokens = 4, tokenMs = 0.1, numSeqs = 4 } = {},
): Drafted {
  const size = { maxNumSeqs: numSeqs }
  const draft = new FakeExecutor({ ...draftLimits, ...size })
  draft.guess = guess
  const failures: string[] = []
  const parts: DraftParts = {
    executor: draft,
    maxContextTokens: draftLimits.maxBlocksPerSeq * draftLimits.blockSize,
    onFailure: (reason) => failures.push(reason),
  }
  const executor = new FakeExecutor({ ...limits, ...size })
  const scheduling = { maxDraftTokens, promptLookup: false }
  const engine = makeTestEngine({ executor, scheduling, draft: parts })
  executor.duringExecute = (numTokens) => {
    engine.clock.ms += 8 + tokenMs * numTokens
  }
  draft.duringExecute = () => {
    engine.clock.ms += draftMs
  }
  return { ...engine, draft, failures }
}

const spec = (id: number, parts: SpecParts = {}) =>
  makeSpec(id, { promptTokens: 9, maxTokens: 40, temperature: 0.8, topLogprobs: 1, ...parts })

async function plainTokens(...ids: number[]): Promise<number[][]> {
  const plain = makeTestEngine({ executor: new FakeExecutor(limits) })
  for (const id of ids) plain.core.add(spec(id, { seed: BigInt(id) }))
  const updates = await plain.drain()
  return ids.map((id) => tokensOf(updates, id))
}

describe('a draft model', () => {
  it('that guesses what the target draws saves most of its steps, drawn by chance or not', async () => {
    const { core, drain, draft } = drafted(ALWAYS_RIGHT)
    core.add(spec(1))
    const updates = await drain()
    const { numSteps, numDraftTokens, numAcceptedDrafts } = core.stats()
    expect(tokensOf(updates, 1)).toEqual((await plainTokens(1))[0])
    expect(numSteps).toBeLessThan(14)
    // The last guesses may reach behind the answer's end.
    expect(numAcceptedDrafts).toBe(40 - numSteps)
    expect(numDraftTokens).toBe(numAcceptedDrafts)
    expect(updates.at(-1)?.timing).toMatchObject({ numAcceptedDrafts, numRejectedDrafts: 0 })
    expect(draft.samplers.size).toBe(0)
  })

  it('that is always wrong changes no token, and is asked ever more seldom', async () => {
    const { core, drain, draft } = drafted(ALWAYS_WRONG, { draftMs: 4 })
    for (const id of [1, 2, 3]) core.add(spec(id, { seed: BigInt(id) }))
    const updates = await drain()
    expect([1, 2, 3].map((id) => tokensOf(updates, id))).toEqual(await plainTokens(1, 2, 3))
    const { numAcceptedDrafts, numSteps } = core.stats()
    expect(numAcceptedDrafts).toBe(0)
    expect(draft.numExecutions).toBeLessThan(numSteps)
  })

  it('is not asked where its steps cost more than they bring', async () => {
    const { core, drain, draft } = drafted(ALWAYS_RIGHT, { draftMs: 12 })
    for (const id of [1, 2]) core.add(spec(id, { maxTokens: 200 }))
    await drain()
    expect(draft.numExecutions).toBeLessThan(6)
  })

  it('is not asked where rows cost as much as a step, as in a large batch', async () => {
    const { core, drain, draft } = drafted(ALWAYS_RIGHT, { tokenMs: 8 })
    for (const id of [1, 2, 3, 4]) core.add(spec(id, { maxTokens: 100 }))
    await drain()
    expect(draft.numExecutions).toBeLessThan(12)
  })

  it('is not asked beside prompts', async () => {
    const { core, draft } = drafted(ALWAYS_RIGHT)
    core.add(spec(1))
    for (let step = 0; step < 3; step++) await core.step()
    const numBefore = draft.numExecutions
    expect(numBefore).toBeGreaterThan(0)
    core.add(spec(2, { promptTokens: 150 }))
    for (let step = 0; step < 3; step++) await core.step()
    expect(draft.numExecutions).toBe(numBefore)
  })

  it('catches up with a long text over several steps, and with one that nobody waits for at once', async () => {
    const wide = { ...limits, maxNumBatchedTokens: 64 }
    const alone = drafted(ALWAYS_RIGHT, { draftLimits: wide })
    alone.core.add(spec(1, { promptTokens: 60 }))
    await alone.core.step()
    await alone.core.step()
    expect(alone.draft.arrays.contextLengths[0]).toBeGreaterThanOrEqual(61)
    const beside = drafted(ALWAYS_RIGHT, { draftLimits: wide })
    beside.core.add(spec(1, { promptTokens: 2 }))
    beside.core.add(spec(2, { promptTokens: 50 }))
    await beside.core.step()
    await beside.core.step()
    expect(beside.draft.arrays.contextLengths[1] ?? 0).toBeLessThan(50)
    await beside.drain()
    expect(beside.core.stats().numAcceptedDrafts).toBeGreaterThan(40)
  })

  it('guesses for whom its memory suffices, and gives all of it back', async () => {
    const draftLimits = { ...limits, numBlocks: 14 }
    const { core, drain, draft } = drafted(ALWAYS_RIGHT, { draftLimits })
    for (const id of [1, 2, 3]) core.add(spec(id, { seed: BigInt(id) }))
    const updates = await drain()
    expect([1, 2, 3].map((id) => tokensOf(updates, id))).toEqual(await plainTokens(1, 2, 3))
    expect(core.stats().numAcceptedDrafts).toBeGreaterThan(20)
    expect(draft.samplers.size).toBe(0)
  })

  it('that fails costs its guesses and nothing else, and says so once', async () => {
    const { core, drain, draft, failures } = drafted(ALWAYS_RIGHT)
    core.add(spec(1))
    for (let step = 0; step < 3; step++) await core.step()
    draft.failure = new Error('the second model is gone')
    const numBefore = draft.numExecutions
    const updates = await drain()
    expect(updates.at(-1)?.finish).toBe('length')
    expect(failures).toEqual(['the second model is gone'])
    expect(draft.numExecutions).toBe(numBefore + 1)
    expect(draft.samplers.size).toBe(0)
  })

  it('leaves a sequence that is cancelled while it guesses', async () => {
    const { core, drain, draft } = drafted(ALWAYS_RIGHT)
    core.add(spec(1))
    core.add(spec(2))
    for (let step = 0; step < 3; step++) await core.step()
    const { duringExecute } = draft
    draft.duringExecute = (numTokens) => {
      core.cancel(spec(1).id)
      return duringExecute(numTokens)
    }
    const updates = await drain()
    expect(updates.find(({ id, finish }) => id === 1 && finish !== null)?.finish).toBe('cancelled')
    expect(tokensOf(updates, 2).length).toBeGreaterThan(30)
    expect(draft.samplers.size).toBe(0)
  })

  it('gives way to prompt lookup where that guesses as well', async () => {
    const draft = new FakeExecutor(limits)
    draft.guess = ALWAYS_WRONG
    const parts: DraftParts = { executor: draft, maxContextTokens: 256, onFailure: () => {} }
    const executor = new FakeExecutor({ ...limits, vocabSize: 2 })
    const draftOfTwo = new FakeExecutor({ ...limits, vocabSize: 2 })
    draftOfTwo.guess = (tokenId) => 1 - tokenId
    const { core, drain } = makeTestEngine({
      executor,
      scheduling: { maxDraftTokens: 4 },
      draft: { ...parts, executor: draftOfTwo },
    })
    core.add(
      makeSpec(1, { promptIds: Array.from({ length: 12 }, (_, i) => (i % 3) & 1), maxTokens: 60 }),
    )
    await drain()
    expect(core.stats().numAcceptedDrafts).toBeGreaterThan(0)
  })

  it.each([
    ['another vocabulary', { vocabSize: 65 }, {}],
    ['fewer places', { maxNumSeqs: 2 }, {}],
    ['no way to take guesses back', {}, { supportsDrafts: false }],
  ])('is refused with %s', (_, change, capabilities) => {
    const executor = new FakeExecutor({ ...limits, ...change })
    Object.assign(executor.capabilities, capabilities)
    const draft: DraftParts = { executor, maxContextTokens: 256, onFailure: () => {} }
    const target = new FakeExecutor(limits)
    expect(() =>
      makeTestEngine({ executor: target, scheduling: { maxDraftTokens: 4 }, draft }),
    ).toThrow(expect.objectContaining({ code: 'ENGINE_DRAFT_UNUSABLE' }))
  })
})
