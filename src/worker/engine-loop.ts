/**
 * The engine process's loop: take what arrived, step, tell. Owns the engine while it runs. Knows messages, not how they
 * travel; knows no weights.
 *
 *   message ──▶ add / cancel at once (also while a step is under way) ──▶ step ──▶ one message out
 *
 * Invariants:
 * W1 One message out a step, and the next step begins only when the channel has room again: a slow reader slows the
 *    engine, it does not fill its memory.
 * W2 Without work nothing runs: no timer, no polling.
 * W3 A sequence that the engine refuses gets one update with its error, like any other end.
 */

import { invariant, ServingError } from '../base/errors.ts'
import type { EngineCoreStats } from '../engine/updates.ts'
import type { AdapterMessage } from './adapter-desk.ts'
import type { EngineStats, FromEngine, SequenceSpec, SequenceUpdate, ToEngine } from './messages.ts'

/** The part of `EngineCore` that the loop drives. */
export interface SteppedEngine {
  readonly hasWork: boolean
  add(spec: SequenceSpec): void
  cancel(id: SequenceSpec['id']): void
  step(): Promise<{ readonly updates: readonly SequenceUpdate[] }>
  stats(): EngineCoreStats
  checkIntegrity(): void
}

export interface EngineLoopPorts {
  /** Resolves when the channel has room for more. */
  send(message: FromEngine): Promise<void>
  /** Resident bytes of this process. */
  rssBytes(): number
}

export class EngineLoop {
  readonly #engine: SteppedEngine
  readonly #ports: EngineLoopPorts
  #refusals: SequenceUpdate[] = []
  #isStopping = false
  #wake: (() => void) | null = null

  constructor(engine: SteppedEngine, ports: EngineLoopPorts) {
    this.#engine = engine
    this.#ports = ports
  }

  /** Act on a message at once; any time. */
  accept(message: Exclude<ToEngine, AdapterMessage>): void {
    switch (message.type) {
      case 'work':
        for (const spec of message.add) this.#add(spec)
        for (const id of message.cancel) this.#engine.cancel(id)
        break
      case 'ping':
        void this.#ports.send({ type: 'pong', nonce: message.nonce, stats: this.#stats() })
        return
      case 'stop':
        this.#isStopping = true
        break
      case 'start':
        invariant(false, 'W3', 'an engine process is started twice')
    }
    this.#wake?.()
  }

  /**
   * Run until `stop` was accepted and nothing is left to do.
   *
   * @throws InvariantError when the engine broke; it must not be used any more
   */
  async run(): Promise<void> {
    for (;;) {
      while (this.#engine.hasWork || this.#refusals.length > 0) await this.#step()
      this.#engine.checkIntegrity()
      if (this.#isStopping) return
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#wake = null
    }
  }

  async #step(): Promise<void> {
    const stepped = this.#engine.hasWork ? (await this.#engine.step()).updates : []
    const refusals = this.#refusals
    if (refusals.length > 0) this.#refusals = []
    const updates = refusals.length === 0 ? stepped : [...refusals, ...stepped]
    await this.#ports.send({ type: 'step', updates, stats: this.#stats() })
  }

  #add(spec: SequenceSpec): void {
    try {
      this.#engine.add(spec)
    } catch (error) {
      if (!(error instanceof ServingError)) throw error
      this.#refusals.push({
        id: spec.id,
        tokenIds: [],
        logprobs: null,
        promptLogprobs: null,
        finish: 'error',
        stopTokenId: null,
        error: error.toWire(),
        timing: null,
      })
    }
  }

  #stats(): EngineStats {
    return { ...this.#engine.stats(), rssBytes: this.#ports.rssBytes() }
  }
}
