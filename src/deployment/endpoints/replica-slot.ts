/**
 * One replica of a set from its start to its end: its process, its memory, the sequences inside, whether it answers.
 * Owns the replica and its reservation. Does not know why it is started or ended.
 *
 *   starting ── ready and probed ──▶ ready ── crash, failed probe ──▶ restarting ──▶ ready …
 *       └── never ready ──▶ gone       └── retire: no new sequences, the last one ends ──▶ gone
 *
 * S1 its memory is given back once, after its process has ended.
 * S2 it is ready only after a token came from the process that runs now.
 */

import type { ServingError } from '../../base/errors.ts'
import type { SequenceId } from '../../base/ids.ts'
import { workerError } from '../../worker/errors.ts'
import type {
  EngineDescription,
  EngineOptions,
  SequenceSpec,
  SequenceUpdate,
} from '../../worker/messages.ts'
import type { Timer } from '../../worker/timer.ts'
import type { ReplicaHealth } from '../deployments.ts'
import type { Replica, ReplicaStatus, SequenceListener } from '../replica.ts'
import { type ProbeSettings, probe } from './health-probe.ts'
import type { Reservation } from './memory-budget.ts'

export interface SlotOptions {
  readonly index: number
  readonly engine: EngineOptions
  readonly reservation: Reservation
  readonly timer: Timer
  readonly probe: ProbeSettings
  createReplica(onStateChange: (status: ReplicaStatus) => void): Replica
  nextSequenceId(): SequenceId
  /** It became ready, or ceased to be. */
  onChange(): void
  /** The first time that it is ready. */
  onReady(slot: ReplicaSlot, description: EngineDescription): void
  /** Its process has ended and its memory is free. @param error - why it could not live; `null` = it was ended */
  onGone(slot: ReplicaSlot, error: Error | null): void
}

export class ReplicaSlot {
  readonly index: number
  readonly reservation: Reservation
  readonly #options: SlotOptions
  readonly #replica: Replica
  readonly #live = new Set<SequenceId>()
  #description: EngineDescription | null = null
  #isReady = false
  #hasBeenReady = false
  #isRetiring = false
  #isProbing = false
  #gone: Promise<void> | null = null
  #failure: Error | null = null
  #cancelProbe: () => void = () => {}

  constructor(options: SlotOptions) {
    this.#options = options
    this.index = options.index
    this.reservation = options.reservation
    this.#replica = options.createReplica((status) => this.#onStateChange(status))
  }

  start(): void {
    this.#replica.start().then(
      (description) => {
        this.#description = description
        // Its state was told before; the probe waited for what it says of itself.
        this.#probe()
      },
      (error: unknown) => this.#fail(error instanceof Error ? error : new Error(String(error))),
    )
  }

  /** Takes sequences. */
  get isReady(): boolean {
    return this.#isReady && !this.#isRetiring
  }

  get hasBeenReady(): boolean {
    return this.#hasBeenReady
  }

  get isRetiring(): boolean {
    return this.#isRetiring
  }

  get numSequences(): number {
    return this.#live.size
  }

  status(): ReplicaStatus {
    return this.#replica.status()
  }

  submit(sequences: readonly SequenceSpec[], listener: SequenceListener): void {
    this.#replica.submit(sequences, {
      onUpdate: (update: SequenceUpdate) => {
        if (update.finish !== null) this.#ended(update.id)
        listener.onUpdate(update)
      },
      onLost: (id: SequenceId, error: ServingError) => {
        this.#ended(id)
        listener.onLost(id, error)
      },
    })
    for (const { id } of sequences) this.#live.add(id)
  }

  cancel(ids: readonly SequenceId[]): void {
    const own = ids.filter((id) => this.#live.has(id))
    if (own.length > 0) this.#replica.cancel(own)
  }

  /** Take nothing more, and end when what is inside has ended. */
  retire(): void {
    this.#isRetiring = true
    if (this.#live.size === 0) void this.stop()
  }

  /** Not retiring any more, if it has not ended yet. */
  recall(): void {
    if (this.#gone === null) this.#isRetiring = false
  }

  /** End it now; sequences in it are lost. Resolves when the process has ended. Idempotent. */
  stop(): Promise<void> {
    if (this.#gone !== null) return this.#gone
    let resolve = (): void => {}
    // Kept before anything is told, for who hears of it may ask for the same.
    this.#gone = new Promise((settle) => {
      resolve = settle
    })
    void this.#end().then(resolve)
    return this.#gone
  }

  health(): Omit<ReplicaHealth, 'modelId'> {
    const { stats, ...status } = this.#replica.status()
    const isProven = status.state !== 'ready' || this.#isReady
    // An engine that has not stepped yet has said nothing, and has all its blocks free.
    const numBlocks = status.state === 'ready' ? (this.#description?.numBlocks ?? 0) : 0
    return {
      ...status,
      ...(isProven ? {} : { state: 'starting', reason: 'its first token is awaited' }),
      replica: this.index,
      numRunning: stats?.numRunning ?? 0,
      numWaiting: stats?.numWaiting ?? 0,
      numFreeBlocks: stats?.numFreeBlocks ?? numBlocks,
      numBlocks: stats?.numBlocks ?? numBlocks,
    }
  }

  #onStateChange(status: ReplicaStatus): void {
    if (this.#gone !== null) return
    this.#cancelProbe()
    this.#setReady(false)
    if (status.state === 'ready') this.#probe()
    if (status.state !== 'failed' || this.#description === null) return
    const details = { reason: status.reason ?? 'no reason is known' }
    this.#fail(workerError('WORKER_GIVEN_UP', { details }))
  }

  #probe(): void {
    const description = this.#description
    if (this.#isProbing || description === null || this.#gone !== null) return
    if (this.#replica.status().state !== 'ready') return
    const { pid } = this.#replica.status()
    const { timer, nextSequenceId } = this.#options
    this.#isProbing = true
    void probe(this.#replica, nextSequenceId(), timer, this.#options.probe.timeoutMs).then(
      (fault) => {
        this.#isProbing = false
        const now = this.#replica.status()
        if (this.#gone !== null) return
        // Another process runs by now, which has its own probe to pass (S2).
        if (now.pid !== pid || now.state !== 'ready') this.#probe()
        else if (fault !== null) this.#replica.restart(fault)
        else this.#proven(description)
      },
    )
  }

  #proven(description: EngineDescription): void {
    const isFirst = !this.#hasBeenReady
    this.#hasBeenReady = true
    this.#setReady(true)
    if (isFirst) this.#options.onReady(this, description)
    this.#cancelProbe()
    this.#cancelProbe = this.#options.timer.after(this.#options.probe.everyMs, () =>
      this.#probeAgain(description),
    )
  }

  /** A replica that gives tokens to others needs no probe; one that hangs is the watchdog's. */
  #probeAgain(description: EngineDescription): void {
    if (this.#live.size > 0) this.#proven(description)
    else this.#probe()
  }

  #setReady(isReady: boolean): void {
    if (this.#isReady === isReady) return
    this.#isReady = isReady
    this.#options.onChange()
  }

  #ended(id: SequenceId): void {
    this.#live.delete(id)
    if (this.#isRetiring && this.#live.size === 0) void this.stop()
  }

  #fail(error: Error): void {
    if (this.#gone !== null) return
    this.#failure = error
    void this.stop()
  }

  async #end(): Promise<void> {
    this.#cancelProbe()
    this.#setReady(false)
    await this.#replica.stop()
    this.reservation.release()
    this.#options.onGone(this, this.#failure)
  }
}
