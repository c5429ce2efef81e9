/**
 * The replicas of one variant as one: routes sequences to the one that suits, starts and retires replicas as it is told.
 * Owns the slots. Does not decide how many there are, and knows no budget.
 *
 * R1 a sequence goes to a replica that is ready, or is refused before it has begun.
 * R2 a replica that is retired gets nothing new and loses nothing that is inside.
 */

import type { SequenceId } from '../../base/ids.ts'
import type { EngineDescription, EngineOptions, SequenceSpec } from '../../worker/messages.ts'
import type { Timer } from '../../worker/timer.ts'
import { admissionPace } from '../admission-pace.ts'
import type { ReplicaHealth } from '../deployments.ts'
import { deploymentError } from '../errors.ts'
import type { Replica, ReplicaGroup, ReplicaStatus, SequenceListener } from '../replica.ts'
import { chooseReplica } from './choose-replica.ts'
import type { ProbeSettings } from './health-probe.ts'
import type { Reservation } from './memory-budget.ts'
import { ReplicaSlot } from './replica-slot.ts'
import { routingKey } from './routing-key.ts'

export interface ReplicaSetEvents {
  /** A replica became ready, or ceased to be. */
  onChange(): void
  /** The replica of this index is ready for the first time. */
  onReady(index: number, description: EngineDescription): void
  /** It has ended and given its memory back; the error says why it could not live. */
  onGone(index: number, end: { readonly error: Error | null; readonly wasReady: boolean }): void
}

export interface ReplicaSetOptions {
  readonly modelId: string
  readonly timer: Timer
  readonly probe: ProbeSettings
  createReplica(
    engine: EngineOptions,
    index: number,
    onStateChange: (status: ReplicaStatus) => void,
  ): Replica
  nextSequenceId(): SequenceId
  readonly events: ReplicaSetEvents
}

export class ReplicaSet implements ReplicaGroup {
  readonly #options: ReplicaSetOptions
  readonly #slots = new Set<ReplicaSlot>()
  /** Of the last one that ended by itself. */
  #lastFailure: string | null = null

  constructor(options: ReplicaSetOptions) {
    this.#options = options
  }

  /** With those that start and those that retire. */
  get size(): number {
    return this.#slots.size
  }

  /** Those that start among them. */
  get numStaying(): number {
    return [...this.#slots].filter(({ isRetiring }) => !isRetiring).length
  }

  get numReady(): number {
    let numReady = 0
    for (const { isReady } of this.#slots) if (isReady) numReady += 1
    return numReady
  }

  /** Of all engines side by side. */
  get admissionMs(): number | null {
    return admissionPace(this.statuses().map(({ stats }) => stats))
  }

  /** Inside all replicas. */
  get numSequences(): number {
    return [...this.#slots].reduce((sum, { numSequences }) => sum + numSequences, 0)
  }

  get reservedBytes(): number {
    return [...this.#slots].reduce((sum, { reservation }) => sum + reservation.bytes, 0)
  }

  get reason(): string | null {
    if (this.numReady > 0) return null
    for (const slot of this.#slots) {
      const { reason } = slot.health()
      if (reason !== null) return reason
    }
    return this.#lastFailure
  }

  health(): readonly Omit<ReplicaHealth, 'modelId'>[] {
    return this.#inOrder().map((slot) => slot.health())
  }

  /** Engine statistics of those that are ready, for scaling. */
  statuses(): readonly ReplicaStatus[] {
    return this.#inOrder()
      .filter(({ isReady }) => isReady)
      .map((slot) => slot.status())
  }

  /** Index that the next replica would have: the lowest that is free. */
  get nextIndex(): number {
    const taken = new Set([...this.#slots].map(({ index }) => index))
    let index = 0
    while (taken.has(index)) index += 1
    return index
  }

  /** @returns its index */
  start(engine: EngineOptions, reservation: Reservation): number {
    const { timer, probe, nextSequenceId, events } = this.#options
    const index = this.nextIndex
    const slot = new ReplicaSlot({
      ...{ index, engine, reservation, timer, probe, nextSequenceId },
      createReplica: (onStateChange) => this.#options.createReplica(engine, index, onStateChange),
      onChange: () => events.onChange(),
      onReady: (_, description) => events.onReady(index, description),
      onGone: (gone, error) => {
        this.#slots.delete(gone)
        this.#lastFailure = error === null ? this.#lastFailure : error.message
        events.onGone(index, { error, wasReady: gone.hasBeenReady })
      },
    })
    this.#slots.add(slot)
    slot.start()
    return index
  }

  /** Let the replica with the highest index go, once its sequences have ended. */
  retireOne(): void {
    this.#inOrder()
      .filter(({ isRetiring }) => !isRetiring)
      .at(-1)
      ?.retire()
  }

  retireAll(): void {
    for (const slot of this.#slots) slot.retire()
  }

  recallAll(): void {
    for (const slot of this.#slots) slot.recall()
  }

  /** End all processes now. */
  async stop(): Promise<void> {
    await Promise.all([...this.#slots].map((slot) => slot.stop()))
  }

  submit(sequences: readonly SequenceSpec[], listener: SequenceListener): void {
    const ready = [...this.#slots].filter(({ isReady }) => isReady)
    if (ready.length === 0) {
      const { modelId: model } = this.#options
      const details = { model, reason: this.reason ?? 'no engine runs', retryAfterSeconds: 1 }
      throw deploymentError('DEPLOYMENT_NOT_READY', { retryAfterSeconds: 1, details })
    }
    chooseReplica(ready, sequences.length, () => routingKey(sequences)).submit(sequences, listener)
  }

  cancel(ids: readonly SequenceId[]): void {
    for (const slot of this.#slots) slot.cancel(ids)
  }

  #inOrder(): ReplicaSlot[] {
    return [...this.#slots].sort((a, b) => a.index - b.index)
  }
}
