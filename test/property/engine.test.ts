/**
 * Seeded random walks on the whole engine with a vocabulary of two tokens and tiny pools. `FakeExecutor` draws from
 * the history that the block tables reach, so every kind of KV mistake shows as a wrong answer.
 */

import { describe, expect, it } from 'vitest'
import type { SequenceId } from '../../src/base/ids.ts'
import type { BatchLimits } from '../../src/engine/executor.ts'
import type { SequenceSpec, SequenceUpdate } from '../../src/engine/updates.ts'
import { makeSpec, makeTestEngine, type TestEngine } from '../support/engine-builders.ts'
import { FakeExecutor, logprobOf, makeLimits, nextTokenOf } from '../support/fake-executor.ts'
import { FakeTier } from '../support/fake-tier.ts'
import { seededRandom } from '../support/seeded-random.ts'

const NUM_WALKS = 250
const NUM_ACTS = 60
const FIRST_SEED = Number(process.env.INGOT_PROPERTY_SEED ?? 20260801)

function makeRandom(seed: number) {
  const { next, below } = seededRandom(seed)
  return {
    /** Whole, both ends included. */
    between: (least: number, most: number) => least + below(most - least + 1),
    chance: (probability: number) => next() < probability,
    pick: <T>(items: readonly T[]): T => items[below(items.length)] as T,
  }
}
type Random = ReturnType<typeof makeRandom>

/** The answer of a sequence that runs alone, computed without an engine. */
function aloneAnswer(spec: SequenceSpec, maxContextTokens: number, eosTokenIds: readonly number[]) {
  const { params, promptIds, choice } = spec
  const tokenIds = [...promptIds]
  const stops = params.ignoreEos ? params.stopTokenIds : [...params.stopTokenIds, ...eosTokenIds]
  for (;;) {
    const numBefore = tokenIds.length - promptIds.length
    const tokenId = nextTokenOf(tokenIds, params, choice, 2)
    tokenIds.push(tokenId)
    const outputs = tokenIds.slice(promptIds.length)
    if (stops.includes(tokenId) && numBefore >= params.minTokens) return { outputs, finish: 'stop' }
    if (outputs.length === params.maxTokens) return { outputs, finish: 'length' }
    if (tokenIds.length === maxContextTokens) return { outputs, finish: 'length' }
  }
}

function randomLimits(random: Random): BatchLimits {
  const maxNumSeqs = random.between(1, 6)
  const blockSize = random.pick([1, 2, 4])
  const numBlocks = random.between(4, 16)
  return makeLimits({
    maxNumSeqs,
    maxNumBatchedTokens: random.between(maxNumSeqs, maxNumSeqs + 12),
    maxLogitsRows: random.between(maxNumSeqs, maxNumSeqs + 6),
    blockSize,
    numBlocks,
    maxBlocksPerSeq: random.between(Math.max(2, Math.floor(numBlocks / 2)), numBlocks),
  })
}

function randomSpec(id: number, random: Random, maxTokens: number): SequenceSpec {
  const promptLength = random.between(
    1,
    Math.max(1, Math.floor(maxTokens / random.pick([1, 2, 4]))),
  )
  return makeSpec(id, {
    promptIds: Array.from({ length: promptLength }, () => (random.chance(0.1) ? 1 : 0)),
    maxTokens: random.between(1, maxTokens),
    minTokens: 0, // the fake sampler does not mask; see the unit test
    seed: BigInt(random.between(0, 5)),
    choice: random.between(0, 2),
    cacheDomain: random.between(0, 1),
    tier: random.pick(['priority', 'default', 'default', 'flex'] as const),
    tenant: random.pick(['a', 'a', 'a', 'b', 'c']),
    ...(random.chance(0.1) ? { maxQueueMs: random.between(5, 60) } : {}),
    ignoreEos: random.chance(0.85),
    stopTokenIds: random.chance(0.1) ? [random.between(0, 1)] : [],
    topLogprobs: random.chance(0.2) ? random.between(0, 3) : null,
    promptLogprobs: random.chance(0.3) ? random.between(0, 3) : null,
  })
}

/** What one walk saw of each sequence. */
class Ledger {
  numRefused = 0
  readonly specs = new Map<SequenceId, SequenceSpec>()
  readonly cancelled = new Set<SequenceId>()
  readonly outputs = new Map<SequenceId, number[]>()
  readonly promptEntries = new Map<SequenceId, number[]>()
  readonly finishes = new Map<SequenceId, SequenceUpdate>()

  record(updates: readonly SequenceUpdate[]): void {
    for (const update of updates) {
      expect(this.finishes.has(update.id), `an update after the last one of ${update.id}`).toBe(
        false,
      )
      const outputs = this.outputs.get(update.id) ?? []
      outputs.push(...update.tokenIds)
      this.outputs.set(update.id, outputs)
      const spec = this.specs.get(update.id)!
      if (update.logprobs !== null) {
        expect(update.logprobs.map((entry) => entry.tokenId)).toEqual(update.tokenIds)
        const known = [...spec.promptIds, ...outputs]
        const first = known.length - update.tokenIds.length
        for (const [index, entry] of update.logprobs.entries()) {
          expect(entry.logprob).toBe(logprobOf(known, first + index, entry.tokenId))
          expect(entry.topIds).toHaveLength(spec.params.topLogprobs ?? 0)
        }
      }
      const entries = this.promptEntries.get(update.id) ?? []
      for (const entry of update.promptLogprobs ?? []) {
        const position = entries.length + 1
        expect(entry.tokenId).toBe(spec.promptIds[position])
        expect(entry.logprob).toBe(logprobOf(spec.promptIds, position, entry.tokenId))
        expect(entry.topIds).toHaveLength(spec.params.promptLogprobs ?? 0)
        entries.push(entry.tokenId)
      }
      this.promptEntries.set(update.id, entries)
      if (update.finish !== null) this.finishes.set(update.id, update)
    }
  }

  numCachedTokens(): number {
    let numCached = 0
    for (const { timing } of this.finishes.values()) numCached += timing?.numCachedTokens ?? 0
    return numCached
  }

  check(maxContextTokens: number, eosTokenIds: readonly number[]): void {
    for (const [id, spec] of this.specs) {
      const finish = this.finishes.get(id)?.finish
      const alone = aloneAnswer(spec, maxContextTokens, eosTokenIds)
      const outputs = this.outputs.get(id) ?? []
      if (finish === 'cancelled' || finish === 'error') {
        if (finish === 'cancelled') expect(this.cancelled.has(id)).toBe(true)
        else
          expect(this.finishes.get(id)?.error?.code).toMatch(
            /^ENGINE_(STEP_FAILED|BAD_LOGITS|QUEUE_TIMEOUT)$/,
          )
        expect(outputs).toEqual(alone.outputs.slice(0, outputs.length))
        continue
      }
      expect({ outputs, finish }).toEqual(alone)
      const numPromptEntries = spec.params.promptLogprobs === null ? 0 : spec.promptIds.length - 1
      expect(this.promptEntries.get(id)).toHaveLength(numPromptEntries)
    }
  }
}

async function walk(
  seed: number,
): Promise<{ engine: TestEngine; ledger: Ledger; numDraftSteps: number }> {
  const random = makeRandom(seed)
  const limits = randomLimits(random)
  const eosTokenIds = [1]
  const poolTokens = limits.numBlocks * limits.blockSize
  const maxContextTokens = Math.min(limits.maxBlocksPerSeq * limits.blockSize, poolTokens)
  const targetItl = random.pick(['off', 'auto', 5] as const)
  const maxDraftTokens = random.pick([0, 1, 3, 8])
  // Whether bringing KV back is cheaper than computing it: always, sometimes or never.
  const moveMs = random.pick([0, 0, 1, 40])
  const blockBytes = 8 * limits.blockSize
  const swapBytes = blockBytes * random.pick([0, 2, 5, 64])
  const scheduling = { prefixCache: random.chance(0.7), targetItl, maxDraftTokens, swapBytes }
  const executor = new FakeExecutor(limits)
  const tier = new FakeTier(blockBytes)
  const hasTier = random.chance(0.5)
  const made = { executor, maxContextTokens, eosTokenIds, scheduling }
  const drafting = randomDraft(limits, seed)
  const promptLookup = drafting?.random.chance(0.5) ?? true
  const engine = makeTestEngine({
    ...made,
    scheduling: { ...scheduling, promptLookup },
    ...(hasTier ? { tier } : {}),
    ...(drafting === null ? {} : { draft: drafting.parts }),
  })
  const { core } = engine
  executor.duringMove = () => {
    engine.clock.ms += random.chance(0.5) ? moveMs : 0
  }
  tier.keeps = () => random.chance(0.9)
  tier.duringLoad = async () => {
    for (let turns = random.between(0, 6); turns > 0; turns--) await Promise.resolve()
    if (random.chance(0.3)) act()
    for (const key of tier.blocks.keys()) if (random.chance(0.1)) tier.blocks.delete(key)
  }
  const ledger = new Ledger()
  const live = () => [...ledger.specs.keys()].filter((id) => !ledger.finishes.has(id))
  let nextId = 1
  const act = () => {
    if (random.chance(0.45)) {
      const spec = randomSpec(
        nextId++,
        random,
        Math.min(maxContextTokens - 1, random.pick([4, 12, 60])),
      )
      try {
        core.add(spec)
        ledger.specs.set(spec.id, spec)
        // Choices of one request, which wait for the first one's prompt.
        for (let choice = 0; random.chance(0.3); choice++) {
          const { promptLogprobs } = spec.params
          const params = { ...spec.params, promptLogprobs: choice === 0 ? promptLogprobs : null }
          const sibling = { ...spec, params, choice, id: nextId++ as SequenceId, leader: spec.id }
          core.add(sibling)
          ledger.specs.set(sibling.id, sibling)
        }
      } catch (error) {
        expect(error).toMatchObject({ code: 'ENGINE_QUEUE_TOO_LONG' })
        ledger.numRefused += 1
      }
    }
    if (random.chance(0.08) && live().length > 0) {
      const id = random.pick(live())
      ledger.cancelled.add(id)
      core.cancel(id)
    }
  }
  if (drafting !== null) {
    drafting.executor.duringExecute = () => {
      engine.clock.ms += drafting.random.chance(0.1) ? 1 : 0
      if (drafting.random.chance(0.2)) act()
      drafting.disturb()
    }
  }
  executor.duringExecute = () => {
    engine.clock.ms += random.between(0, 4)
    if (random.chance(0.3)) act()
    if (random.chance(0.02)) executor.failure = new Error('the accelerator is gone')
    if (random.chance(0.02)) executor.unusableSlots.add(random.between(0, limits.maxNumSeqs - 1))
    else executor.unusableSlots.clear()
  }
  for (let index = 0; index < NUM_ACTS; index++) {
    act()
    core.checkIntegrity()
    ledger.record((await core.step()).updates)
    core.checkIntegrity()
  }
  executor.duringExecute = () => {}
  if (drafting !== null) drafting.executor.duringExecute = () => {}
  tier.duringLoad = () => {}
  executor.unusableSlots.clear()
  // Nothing starves: what is left needs at most this many steps, each of which moves the oldest on by a token.
  // With a tier each may also be waited for once between two admissions.
  let numStepsLeft = live().length * (maxContextTokens + (hasTier ? maxContextTokens : 1)) + 1
  while (core.hasWork) {
    expect(numStepsLeft--, 'a sequence starves').toBeGreaterThan(0)
    ledger.record((await core.step()).updates)
    core.checkIntegrity()
  }
  ledger.check(maxContextTokens, eosTokenIds)
  expect(tier.lent.size, 'blocks of the tier are lost').toBe(0)
  expect(drafting?.executor.samplers.size ?? 0, 'samplers of the draft model are lost').toBe(0)
  return { engine, ledger, numDraftSteps: drafting?.executor.numExecutions ?? 0 }
}

/** A draft model that is often right, has little memory or context, draws nothing at times, and may break; or none. */
function randomDraft(limits: BatchLimits, seed: number) {
  const random = makeRandom(seed + 7919)
  if (random.chance(0.4)) return null
  const numBlocks = random.pick([2, 5, 40])
  const executor = new FakeExecutor({ ...limits, numBlocks })
  executor.guess = (tokenId) => (random.chance(0.2) ? 1 - tokenId : tokenId)
  const disturb = () => {
    if (random.chance(0.005)) executor.failure = new Error('the second model is gone')
    if (random.chance(0.02)) executor.unusableSlots.add(random.between(0, limits.maxNumSeqs - 1))
    else executor.unusableSlots.clear()
  }
  const maxContextTokens = random.pick([7, limits.maxBlocksPerSeq * limits.blockSize])
  return { executor, random, disturb, parts: { executor, maxContextTokens, onFailure: () => {} } }
}

describe('an engine under random adds, cancels, budgets and pools', () => {
  it(`answers each sequence as if it ran alone and leaks nothing (seeds from ${FIRST_SEED})`, async () => {
    const totals = {
      steps: 0,
      preemptions: 0,
      sequences: 0,
      cancelled: 0,
      failed: 0,
      tokens: 0,
      hits: 0,
      drafts: 0,
      accepted: 0,
      draftSteps: 0,
      tails: 0,
      swappedOut: 0,
      swappedIn: 0,
      restored: 0,
    }
    for (let index = 0; index < NUM_WALKS; index++) {
      const seed = FIRST_SEED + index
      try {
        const { engine, ledger, numDraftSteps } = await walk(seed)
        const stats = engine.core.stats()
        expect(stats.numFreeBlocks).toBe(stats.numBlocks)
        expect([stats.numRunning, stats.numWaiting, engine.executor.samplers.size]).toEqual([
          0, 0, 0,
        ])
        totals.steps += stats.numSteps
        totals.preemptions += stats.numPreemptions
        totals.tokens += stats.numGeneratedTokens
        totals.sequences += ledger.specs.size
        totals.cancelled += ledger.cancelled.size
        totals.drafts += stats.numDraftTokens
        totals.accepted += stats.numAcceptedDrafts
        totals.draftSteps += numDraftSteps
        totals.tails += stats.numCopiedTails
        totals.swappedOut += stats.numSwappedOutBlocks
        totals.swappedIn += stats.numSwappedInBlocks
        totals.restored += stats.numRestoredTokens
        totals.hits += ledger.numCachedTokens()
        totals.failed += [...ledger.finishes.values()].filter((last) => last.error !== null).length
      } catch (error) {
        console.error(`failed with INGOT_PROPERTY_SEED=${seed}`)
        throw error
      }
    }
    console.info(`engine walks: ${JSON.stringify(totals)}`)
    // The walk is only worth something if it reaches the rare paths often.
    expect(totals.steps).toBeGreaterThan(5000)
    expect(totals.preemptions).toBeGreaterThan(500)
    expect(totals.cancelled).toBeGreaterThan(100)
    expect(totals.failed).toBeGreaterThan(100)
    expect(totals.hits).toBeGreaterThan(1000)
    expect(totals.drafts).toBeGreaterThan(1000)
    expect(totals.accepted).toBeGreaterThan(500)
    expect(totals.draftSteps).toBeGreaterThan(300)
    expect(totals.tails).toBeGreaterThan(50)
    expect(totals.swappedIn).toBeGreaterThan(300)
    expect(totals.swappedOut).toBeGreaterThan(totals.swappedIn)
    expect(totals.restored).toBeGreaterThan(200)
  }, 120_000)
})
