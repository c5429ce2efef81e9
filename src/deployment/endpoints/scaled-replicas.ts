/**
 * As many replicas of a variant as are wanted: asks for memory for each, starts it with what it got, measures its load,
 * retires those that are too many. Owns the replica set and its places in the line. Does not decide how many.
 *
 * P4 replicas that run, start or stand in line are never more than are wanted, but for those that end.
 */

import type { EngineDescription } from '../../worker/messages.ts'
import type { LoadQueue } from './load-queue.ts'
import { LoadTimes } from './load-times.ts'
import { leastBytes, type Reservation, totalBytes } from './memory-budget.ts'
import type { PoolTools, PreparedVariant } from './pool-tools.ts'
import { ReplicaSet } from './replica-set.ts'

export interface ScaledReplicasOptions {
  readonly modelId: string
  readonly tools: PoolTools
  readonly queue: LoadQueue
  /** CPUs of a replica; `null` = any. */
  cpuSet(index: number): string | null
  readonly events: {
    /** A process was started for this one. */
    onStarted(): void
    /** A replica became ready, or ceased to be. */
    onChange(): void
    onReady(description: EngineDescription): void
    /** Its process has ended. @param error - why it could not live; `null` = it was ended */
    onGone(error: Error | null): void
  }
}

export class ScaledReplicas {
  readonly set: ReplicaSet
  readonly loadTimes: LoadTimes = new LoadTimes()
  readonly #options: ScaledReplicasOptions
  /** Places in the line for memory; calling one gives it up. */
  readonly #tickets = new Set<() => void>()
  /** When the load of a replica that was not ready yet began, by its index. */
  readonly #loadsSinceMs = new Map<number, number>()

  constructor(options: ScaledReplicasOptions) {
    const { modelId, tools, queue, events } = options
    const { timer, probe, nextSequenceId } = tools
    this.#options = options
    this.set = new ReplicaSet({
      ...{ modelId, timer, probe },
      nextSequenceId: () => nextSequenceId(),
      createReplica: (engine, index, onStateChange) => {
        const cpuSet = options.cpuSet(index)
        return tools.createReplica({ engine, modelId, index, cpuSet, onStateChange })
      },
      events: {
        onChange: () => events.onChange(),
        onReady: (index, description) => {
          this.#measure(index)
          events.onReady(description)
          queue.loadEnded()
        },
        onGone: (index, { error, wasReady }) => {
          this.#loadsSinceMs.delete(index)
          events.onGone(error)
          if (wasReady) queue.place()
          else queue.loadEnded()
        },
      },
    })
  }

  /** No process, and none in line for memory. */
  get isEmpty(): boolean {
    return this.set.size === 0 && this.#tickets.size === 0
  }

  /**
   * Start or retire until so many stay, in line or running.
   *
   * @param mayGrow - false: only too many are taken away
   */
  scaleTo(numReplicas: number, prepared: PreparedVariant, mayGrow: boolean): void {
    while (mayGrow && this.#numWanted < numReplicas) this.#enqueue(prepared)
    for (const withdraw of [...this.#tickets]) if (this.#numWanted > numReplicas) withdraw()
    while (this.set.numStaying > Math.max(1, numReplicas)) this.set.retireOne()
  }

  /** Give up all places in the line. */
  withdraw(): void {
    for (const withdraw of [...this.#tickets]) withdraw()
  }

  /** @param waitMs - before a load can begin */
  retryAfterSeconds(waitMs: number): number {
    const nowMs = this.#options.tools.clock.nowMs()
    const sinceMs = Math.min(nowMs, ...this.#loadsSinceMs.values())
    return this.loadTimes.retryAfterSeconds(nowMs - sinceMs, waitMs)
  }

  get #numWanted(): number {
    return this.set.numStaying + this.#tickets.size
  }

  #enqueue(prepared: PreparedVariant): void {
    const { size } = prepared
    let leaveLine = (): void => {}
    const withdraw = (): void => {
      this.#tickets.delete(withdraw)
      leaveLine()
    }
    this.#tickets.add(withdraw)
    leaveLine = this.#options.queue.enter({
      bytes: totalBytes(size),
      minBytes: leastBytes(size),
      isExtra: this.set.numReady > 0,
      start: (reservation) => {
        this.#tickets.delete(withdraw)
        this.#start(prepared, reservation)
      },
    })
  }

  #start({ size, engine }: PreparedVariant, reservation: Reservation): void {
    const { tools, events } = this.#options
    const kvBytes = reservation.bytes - size.weightsBytes - size.processBytes
    this.#loadsSinceMs.set(this.set.nextIndex, tools.clock.nowMs())
    this.set.start(engine(kvBytes), reservation)
    events.onStarted()
  }

  #measure(index: number): void {
    const nowMs = this.#options.tools.clock.nowMs()
    this.loadTimes.add(nowMs - (this.#loadsSinceMs.get(index) ?? nowMs))
    this.#loadsSinceMs.delete(index)
  }
}
