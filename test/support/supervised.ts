/** A supervisor over an engine process, with what it told, and waiting for what it will tell. */

import { fileURLToPath } from 'node:url'
import type { ServingError } from '../../src/base/errors.ts'
import type { SequenceId } from '../../src/base/ids.ts'
import { PLAIN_SCHEDULING } from '../../src/engine/scheduling-options.ts'
import type { EngineOptions, EngineStats, SequenceUpdate } from '../../src/worker/messages.ts'
import {
  ReplicaSupervisor,
  type SequenceListener,
  type SupervisorOptions,
  type SupervisorState,
} from '../../src/worker/replica-supervisor.ts'
import { makeSpec, type SpecParts } from './engine-builders.ts'
import { ManualTimer } from './manual-timer.ts'

export const FAKE_ENGINE: string = fileURLToPath(
  new URL('../fixtures/fake-engine.mjs', import.meta.url),
)

export const ENGINE_OPTIONS: EngineOptions = {
  checkpointPath: 'fine',
  threads: 1,
  activations: 'f32',
  kvDtype: 'f32',
  kvMemoryBytes: 1 << 20,
  blockSize: 16,
  maxNumBatchedTokens: 64,
  maxNumSeqs: 8,
  maxContextTokens: 64,
  eosTokenIds: [2],
  scheduling: PLAIN_SCHEDULING,
}

/** Collects what happens to sequences and lets a test wait for it. */
export class Listener implements SequenceListener {
  readonly updates: SequenceUpdate[] = []
  readonly lost: { id: SequenceId; error: ServingError }[] = []
  #waiting: { isMet: () => boolean; resolve: () => void }[] = []

  onUpdate(update: SequenceUpdate): void {
    this.updates.push(update)
    this.#look()
  }

  onLost(id: SequenceId, error: ServingError): void {
    this.lost.push({ id, error })
    this.#look()
  }

  /** Token ids by sequence. */
  tokens(id: number): number[] {
    return this.updates.filter((update) => update.id === id).flatMap((update) => update.tokenIds)
  }

  finishes(): string[] {
    return this.updates.flatMap(({ finish }) => (finish === null ? [] : [finish]))
  }

  /** Until `count` sequences have ended in either way. */
  ended(count: number): Promise<void> {
    return this.until(() => this.finishes().length + this.lost.length >= count)
  }

  until(isMet: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ isMet, resolve })
      this.#look()
    })
  }

  #look(): void {
    const met = this.#waiting.filter(({ isMet }) => isMet())
    this.#waiting = this.#waiting.filter((waiting) => !met.includes(waiting))
    for (const { resolve } of met) resolve()
  }
}

export class Supervised {
  readonly timer: ManualTimer = new ManualTimer()
  readonly states: SupervisorState[] = []
  readonly logs: string[] = []
  readonly progress: string[] = []
  readonly supervisor: ReplicaSupervisor
  #nextId = 1
  #stateWaiters: { state: SupervisorState; resolve: () => void }[] = []
  #statsWaiters: ((stats: EngineStats) => void)[] = []

  constructor(engine: Partial<EngineOptions> = {}, options: Partial<SupervisorOptions> = {}) {
    this.supervisor = new ReplicaSupervisor({
      entryPath: FAKE_ENGINE,
      engine: { ...ENGINE_OPTIONS, ...engine },
      clock: this.timer,
      timer: this.timer,
      chance: () => 1,
      onLog: (line) => this.logs.push(line),
      onProgress: (stage, fraction) => this.progress.push(`${stage} ${fraction}`),
      onStateChange: ({ state }) => {
        this.states.push(state)
        const met = this.#stateWaiters.filter((waiter) => waiter.state === state)
        this.#stateWaiters = this.#stateWaiters.filter((waiter) => waiter.state !== state)
        for (const { resolve } of met) resolve()
      },
      onStats: (stats) => {
        for (const resolve of this.#statsWaiters.splice(0)) resolve(stats)
      },
      ...options,
    })
  }

  /** Resolves when the state is next entered. */
  state(state: SupervisorState): Promise<void> {
    return new Promise((resolve) => this.#stateWaiters.push({ state, resolve }))
  }

  /** The next statistics that the engine sends. */
  stats(): Promise<EngineStats> {
    return new Promise((resolve) => this.#statsWaiters.push(resolve))
  }

  /** Submit one sequence; its id comes back. */
  submit(listener: Listener, parts: SpecParts): SequenceId {
    const spec = makeSpec(this.#nextId, parts)
    this.#nextId += 1
    this.supervisor.submit([spec], listener)
    return spec.id
  }
}
