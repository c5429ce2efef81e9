/**
 * One variant of an endpoint while it comes, serves and goes: the state machine of `variant-phase.ts`. Owns its plan, its
 * replicas, the requests that wait for it, and its load times. Decides when to ask for memory; who gets it is the
 * `LoadQueue`'s. JavaScript thread only.
 *
 * P2 replicas are retired only while no request is open, and none is taken while it drains.
 * P3 whoever asks gets a lease or a typed error, once.
 * P4 single flight: one plan and one load at a time, however many ask.
 * P5 after `close` has resolved no process of it is left.
 */

import type { ServingError } from '../../base/errors.ts'
import { asError, coldError, failed, failedError, goneError } from './cold-errors.ts'
import { ColdStartLine } from './cold-start-line.ts'
import type { VariantSpec } from './endpoint-spec.ts'
import { LoadInterest } from './load-interest.ts'
import type { Resident } from './load-queue.ts'
import type { PreparedVariant } from './pool-tools.ts'
import type { ReplicaSet } from './replica-set.ts'
import { RetryBackoff } from './retry-backoff.ts'
import { ScaledReplicas } from './scaled-replicas.ts'
import { ServedSpeed } from './served-speed.ts'
import { variantDeployment } from './variant-deployment.ts'
import type { Lease, VariantOptions } from './variant-options.ts'
import { assertNext, type VariantPhase } from './variant-phase.ts'
import { VariantUse } from './variant-use.ts'

export class ServedVariant implements Resident {
  readonly spec: VariantSpec
  readonly #options: VariantOptions
  readonly #line: ColdStartLine<Lease>
  readonly #backoff: RetryBackoff
  readonly #use: VariantUse
  readonly #scaled: ScaledReplicas
  readonly #speed = new ServedSpeed()
  readonly #interest: LoadInterest
  /** Ends a fetch that is under way. */
  readonly #closing = new AbortController()
  #phase: VariantPhase
  #reason: string | null = null
  #prepared: PreparedVariant | null
  /** Replicas that are wanted. */
  #target = 0
  #readySinceMs = 0
  #failure: Error | null = null
  #isForRoom = false
  #isClosing = false
  #closed: Promise<void> | null = null
  #onDrained: (() => void)[] = []

  constructor(options: VariantOptions) {
    const { modelId, tools, queue } = options
    const { timer, clock } = tools
    this.spec = options.spec
    this.#options = options
    this.#prepared = options.prepared
    this.#phase = options.prepared === null ? 'new' : 'cold'
    this.#backoff = new RetryBackoff({
      ...{ clock, timer },
      chance: () => tools.chance(),
      onOver: () => this.#onBackoffOver(),
    })
    this.#line = new ColdStartLine(timer, () => this.#interest.renew())
    this.#interest = new LoadInterest(timer, () => this.#onInterestLost())
    this.#use = new VariantUse({
      ...{ clock, timer },
      onElapsed: (words) => void this.drain(words),
      onIdle: () => this.#onIdle(),
    })
    this.#scaled = new ScaledReplicas({
      ...{ modelId, tools, queue },
      cpuSet: (index) => options.policy().cpuSets[index] ?? null,
      events: {
        onStarted: () => this.#onStarted(),
        onChange: () => this.#onReplicasChanged(),
        onReady: (description) => options.onReady(description),
        onGone: (error) => this.#onReplicaGone(error),
      },
    })
  }

  get replicas(): ReplicaSet {
    return this.#scaled.set
  }

  /** Median of the measured times from start to first token, milliseconds; `null` before the first. */
  get loadMs(): number | null {
    return this.#scaled.loadTimes.medianMs
  }

  get phase(): VariantPhase {
    return this.#phase
  }

  /** Why it is not ready, in one sentence. */
  get reason(): string | null {
    return this.#phase === 'ready' ? null : (this.replicas.reason ?? this.#reason)
  }

  /** `null` before its plan is made. */
  get prepared(): PreparedVariant | null {
    return this.#prepared
  }

  get target(): number {
    return this.#target
  }

  get numWaiting(): number {
    return this.#line.size
  }

  get numOpen(): number {
    return this.#use.numOpen
  }

  get bytes(): number {
    return this.replicas.reservedBytes
  }

  get isIdle(): boolean {
    return this.numOpen === 0
  }

  get isLeaving(): boolean {
    return !['ready', 'loading'].includes(this.#phase) && this.replicas.size > 0
  }

  /** It could be asked to leave, or is on its way out. */
  get isResident(): boolean {
    return this.isLeaving || (this.#phase === 'ready' && this.#options.policy().mayLeave)
  }

  get lastUsedMs(): number {
    return this.#use.lastUsedMs
  }

  get idleMs(): number | null {
    return this.#use.idleMs
  }

  /** Of one choice, median of its last answers; `null` = not measured. */
  get tokensPerSecond(): number | null {
    return this.#speed.tokensPerSecond
  }

  get readySinceMs(): number {
    return this.#readySinceMs
  }

  /** Make the plan, fetching weights when needed; shared by all who ask, and made once. */
  prepare(): void {
    if (this.#prepared !== null || this.#isClosing) return
    if (this.#phase !== 'new' && this.#phase !== 'failed') return
    this.#enter('preparing', 'its weights are looked up')
    const onProgress = (text: string): void => {
      if (this.#phase === 'preparing') this.#reason = text
    }
    this.#options.plan({ onProgress, signal: this.#closing.signal }).then(
      (prepared) => {
        if (this.#phase !== 'preparing') return
        this.#prepared = prepared
        this.#enter('cold', null)
        this.#reconcile()
      },
      (error: unknown) => {
        if (this.#phase === 'preparing') this.#fail(asError(error))
      },
    )
  }

  /**
   * The right to run one request, now or when it is ready.
   *
   * @param waitMs - how long at most; 0 = refused while it is cold, and loaded for whoever comes next
   * @throws ServingError 503 with `retryAfterSeconds`; the signal's reason
   */
  acquire(waitMs: number, signal: AbortSignal): Lease | Promise<Lease> {
    if (this.#phase === 'ready') return this.#use.lease()
    if (this.#isClosing) throw goneError(this.#options.modelId)
    if (this.isInBackoff) throw this.refusal()
    if (waitMs > 0) {
      const waiting = this.#line.wait(waitMs, signal, () => this.refusal())
      this.#want()
      return waiting
    }
    this.#want()
    this.#interest.renew()
    throw this.refusal()
  }

  /** Have so many replicas; those that are too many end with their last sequence. */
  setTarget(numReplicas: number): void {
    if (this.#isClosing) return
    this.#target = numReplicas
    if (numReplicas > 0) this.prepare()
    this.#reconcile()
  }

  /** Its endpoint's settings have changed. */
  policyChanged(): void {
    this.#watchIdle()
    const { minReplicas } = this.#options.policy()
    if (minReplicas > this.#target) this.setTarget(minReplicas)
    this.#options.queue.place()
  }

  /** Take nothing new and end when nothing is open. Resolves when its processes have ended, or it was called back. */
  drain(reason: string): Promise<void> {
    this.#isForRoom = false
    return this.#drain(reason)
  }

  leave(): void {
    this.#isForRoom = true
    void this.#drain('another model needs its memory')
  }

  recall(): void {
    if (this.#phase !== 'draining' || !this.#isForRoom || this.isIdle) return
    if (this.replicas.numReady === 0 || this.#isClosing) return
    this.#target = Math.max(1, this.replicas.numStaying)
    this.#becomeReady()
  }

  /** Refuse everybody who waits. */
  refuse(makeError: () => ServingError): void {
    this.#line.refuseAll(makeError)
  }

  /** As `drain`, and for good. What is open after `graceMs` is cancelled. Asked again, it waits no longer. */
  close(graceMs: number): Promise<void> {
    if (this.#closed !== null) void this.replicas.stop()
    this.#closed ??= this.#close(graceMs)
    return this.#closed
  }

  async #close(graceMs: number): Promise<void> {
    this.#isClosing = true
    const { modelId } = this.#options
    this.#closing.abort(goneError(modelId))
    this.#backoff.stop()
    this.#interest.stop()
    this.#use.watch(null)
    this.refuse(() => goneError(modelId))
    this.#target = 0
    this.#scaled.withdraw()
    if (this.#phase === 'ready') this.#enter('draining', 'it is being removed')
    await this.#use.deployment?.drain(graceMs)
    await this.replicas.stop()
    this.#enter('closed', 'it was removed')
  }

  retryAfterSeconds(): number {
    return this.#scaled.retryAfterSeconds(this.#phase === 'failed' ? this.#backoff.leftMs : 0)
  }

  /** Somebody asks for it: at least one replica, and no fewer than its endpoint keeps. */
  #want(): void {
    this.#target = Math.max(this.#target, this.#options.policy().minReplicas, 1)
    if (this.#prepared === null) this.prepare()
    else this.#reconcile()
  }

  /** Why it takes nothing now. */
  refusal(): ServingError {
    const { modelId } = this.#options
    if (this.#phase === 'failed') return failedError(this.#failure, modelId, this)
    return coldError(modelId, this)
  }

  /** It failed, and is not tried again yet. */
  get isInBackoff(): boolean {
    return this.#phase === 'failed' && this.#backoff.leftMs > 0
  }

  /** Have as many replicas started, or in line, as are wanted. */
  #reconcile(): void {
    const prepared = this.#prepared
    if (prepared === null) return
    const isStartable = this.#phase === 'cold' || (this.#phase === 'failed' && !this.isInBackoff)
    if (isStartable && this.#target > 0 && this.replicas.size === 0) {
      this.#enter('loading', 'it waits for memory, or for others that load')
    }
    if (this.#phase !== 'loading' && this.#phase !== 'ready') return
    // A replica that would not live is not replaced at once while others serve.
    this.#scaled.scaleTo(this.#target, prepared, this.#backoff.leftMs === 0)
    if (this.#phase !== 'loading' || this.#target > 0 || !this.#scaled.isEmpty) return
    this.#becomeCold()
  }

  #onStarted(): void {
    this.#reason = 'its engine is loading'
    // While the process loads its weights.
    failed(() => this.#prepared?.beginTextTools(), this.#fail)
    this.#options.onChange()
  }

  #makeDeployment(): void {
    if (this.#prepared === null) return
    this.#use.deployment ??= variantDeployment(this.#options, this.#prepared, this.replicas, {
      retryAfterSeconds: () => this.retryAfterSeconds(),
      onIdle: () => this.#use.maybeIdle(),
      onAnswered: (numTokens, decodeMs) => this.#speed.add(numTokens, decodeMs),
    })
  }

  #onReplicasChanged(): void {
    const { numReady } = this.replicas
    if (this.#phase === 'loading' && numReady > 0) this.#becomeReady()
    else if (this.#phase === 'ready' && numReady === 0) {
      this.#enter('loading', 'its engine ended and is started again')
      this.#reconcile()
    }
    this.#options.onChange()
  }

  #onReplicaGone(error: Error | null): void {
    if (this.#phase === 'draining' && this.replicas.size === 0 && !this.#isClosing) {
      this.#becomeCold()
    } else if (error !== null && (this.#phase === 'loading' || this.#phase === 'ready')) {
      if (this.replicas.numStaying === 0) this.#fail(error)
      else this.#backoff.failed()
    } else this.#reconcile()
    this.#options.onChange()
  }

  #becomeReady(): void {
    if (failed(() => this.#makeDeployment(), this.#fail)) return
    this.#readySinceMs = this.#options.tools.clock.nowMs()
    this.#backoff.succeeded()
    this.#interest.stop()
    this.#enter('ready', null)
    this.#line.callAll(() => this.#use.lease())
    this.#watchIdle()
    this.#options.queue.place()
  }

  #becomeCold(): void {
    this.#enter('cold', null)
    if (this.#line.size > 0) this.#want()
    else this.#reconcile()
  }

  readonly #fail = (error: Error): void => {
    this.#failure = error
    this.#scaled.withdraw()
    this.#enter('failed', error.message)
    this.#target = 0
    this.#backoff.failed()
    this.#line.refuseAll(() => this.refusal())
    void this.replicas.stop()
    this.#options.onFailed(error)
    this.#options.onChange()
  }

  /** By itself only what its endpoint keeps running; else whoever asks after that time starts it. */
  #onBackoffOver(): void {
    if (this.#options.policy().minReplicas > 0 || this.#target > 0) this.#want()
  }

  #drain(reason: string): Promise<void> {
    this.#target = 0
    this.#scaled.withdraw()
    if (this.#phase === 'loading' && this.replicas.size === 0) this.#becomeCold()
    else if (this.#phase === 'ready' || this.#phase === 'loading') {
      this.#enter('draining', reason)
      if (this.isIdle) this.replicas.retireAll()
    }
    if (this.replicas.size === 0) return Promise.resolve()
    return new Promise((resolve) => this.#onDrained.push(resolve))
  }

  #onIdle(): void {
    if (this.#phase === 'draining') this.replicas.retireAll()
    this.#watchIdle()
    this.#options.queue.place()
  }

  #watchIdle(): void {
    this.#use.watch(this.#phase === 'ready' ? this.#options.policy().inactiveTimeoutMs : null)
  }

  #onInterestLost(): void {
    const isKept = this.#options.policy().minReplicas > 0
    const isWanted = isKept || this.#line.size > 0 || this.replicas.size > 0
    if (isWanted || this.#phase !== 'loading') return
    this.#target = 0
    this.#reconcile()
  }

  #enter(phase: VariantPhase, reason: string | null): void {
    assertNext(this.#phase, phase)
    this.#phase = phase
    this.#reason = reason
    const isOver = phase === 'cold' || phase === 'closed'
    if (isOver) for (const resolve of this.#onDrained.splice(0)) resolve()
    this.#options.onChange()
  }
}
