/** Builders for the engine's tests: specs, sequences and engines from only what a test is about. */

import type { Clock } from '../../src/base/clock.ts'
import type { SequenceId } from '../../src/base/ids.ts'
import { EngineCore } from '../../src/engine/engine-core.ts'
import type { BatchLimits } from '../../src/engine/executor.ts'
import type { KvTier } from '../../src/engine/kv-tier.ts'
import type { DraftParts } from '../../src/engine/make-scheduler.ts'
import { makeSequence } from '../../src/engine/make-sequence.ts'
import { PLAIN_SCHEDULING, type SchedulingOptions } from '../../src/engine/scheduling-options.ts'
import type { Sequence } from '../../src/engine/sequence.ts'
import type { ServiceTier } from '../../src/engine/service-tier.ts'
import type { SequenceSpec, SequenceUpdate } from '../../src/engine/updates.ts'
import type { SamplingParams } from '../../src/sampling/sampling-params.ts'
import { makeSamplingParams } from '../../src/sampling/validate-sampling-params.ts'
import { FakeExecutor, makeLimits } from './fake-executor.ts'

/** Time that moves when told. */
export class EngineClock implements Clock {
  ms = 0
  nowMs(): number {
    return this.ms
  }
  wallMs(): number {
    return this.ms
  }
}

export interface SpecParts extends Partial<SamplingParams> {
  readonly promptIds?: readonly number[]
  /** A prompt of zeros, when its tokens do not matter. */
  readonly promptTokens?: number
  readonly choice?: number
  /** The last word of the domain. */
  readonly cacheDomain?: number
  readonly tier?: ServiceTier
  readonly tenant?: string
  readonly leader?: number
  readonly maxQueueMs?: number
  /** Slot. */
  readonly adapter?: number
}

export function makeSpec(id: number, parts: SpecParts = {}): SequenceSpec {
  const {
    promptIds,
    promptTokens,
    choice,
    cacheDomain,
    tier,
    tenant,
    leader,
    maxQueueMs,
    adapter,
    ...params
  } = parts
  return {
    id: id as SequenceId,
    promptIds:
      promptIds === undefined ? new Int32Array(promptTokens ?? 3) : Int32Array.from(promptIds),
    params: makeSamplingParams({ seed: 1n, maxTokens: 8, ...params }),
    choice: choice ?? 0,
    cacheDomain: Int32Array.of(0, 0, 0, cacheDomain ?? 0),
    tier: tier ?? 'default',
    tenant: tenant ?? 'local',
    ...(leader === undefined ? {} : { leader: leader as SequenceId }),
    maxQueueMs: maxQueueMs ?? null,
    ...(adapter === undefined ? {} : { adapter }),
  }
}

export function makeTestSequence(id: number, limits: BatchLimits, parts: SpecParts = {}): Sequence {
  const sequenceLimits = {
    limits,
    maxContextTokens: limits.maxBlocksPerSeq * limits.blockSize,
    eosTokenIds: [],
    adapters: { has: () => true },
  }
  return makeSequence(makeSpec(id, parts), sequenceLimits, 0, id)
}

export interface TestEngine {
  readonly core: EngineCore
  readonly executor: FakeExecutor
  readonly clock: EngineClock
  /** Step until nothing is left to do; all updates in order. */
  drain(): Promise<SequenceUpdate[]>
}

export interface TestEngineOptions {
  readonly limits?: Partial<BatchLimits>
  readonly executor?: FakeExecutor
  readonly maxContextTokens?: number
  readonly eosTokenIds?: readonly number[]
  readonly scheduling?: Partial<SchedulingOptions>
  readonly tier?: KvTier
  readonly draft?: DraftParts
}

export function makeTestEngine(options: TestEngineOptions = {}): TestEngine {
  const executor = options.executor ?? new FakeExecutor(makeLimits(options.limits))
  const { maxBlocksPerSeq, blockSize } = executor.limits
  const clock = new EngineClock()
  const maxContextTokens = options.maxContextTokens ?? maxBlocksPerSeq * blockSize
  const core = new EngineCore({
    executor,
    clock,
    maxContextTokens,
    eosTokenIds: options.eosTokenIds ?? [],
    scheduling: { ...PLAIN_SCHEDULING, ...options.scheduling },
    hashKey: [1, 2],
    tier: options.tier ?? null,
    draft: options.draft ?? null,
  })
  const drain = async () => {
    const updates: SequenceUpdate[] = []
    while (core.hasWork) {
      updates.push(...(await core.step()).updates)
      core.checkIntegrity()
    }
    return updates
  }
  return { core, executor, clock, drain }
}

/** The tokens of one sequence out of all updates. */
export function tokensOf(updates: readonly SequenceUpdate[], id: number): number[] {
  return updates.filter((update) => update.id === id).flatMap((update) => update.tokenIds)
}

export function lastOf(updates: readonly SequenceUpdate[], id: number): SequenceUpdate | undefined {
  return updates.filter((update) => update.id === id && update.finish !== null).at(-1)
}
