/**
 * The engine's loop body: schedule → execute → commit. Owns all sequences of one replica, from `add` to their last
 * update. Does not know processes, text, HTTP, or what computes.
 *
 * One caller: `step` is awaited before it is called again; `add` and `cancel` may be called at any time, also while a
 * step is under way, all from one thread.
 * Invariants:
 * E1 Every sequence that `add` accepted gets exactly one update with a `finish`.
 * E2 A sequence whose last update was made holds no block, no sampler slot and no entry in `#sequences`.
 * E3 A step that fails, or a row that cannot be drawn from, ends only the sequences it was computed for, and what it
 *    computed is never published to the prefix cache. A broken
 *    invariant, or an error from anywhere else, stops the engine: `step` and `add` throw, now and for ever.
 * E4 While sequences exist, each step computes at least one token, makes at least one update, puts somebody out, or
 *    waits for blocks of the tier, and for nothing else.
 */

import type { Clock } from '../base/clock.ts'
import { InvariantError, invariant, type ServingError } from '../base/errors.ts'
import type { SequenceId } from '../base/ids.ts'
import { checkContext, checkScheduler } from './check-scheduler.ts'
import { commitStep } from './commit.ts'
import { CoreCounters } from './core-counters.ts'
import type { DraftModel } from './draft-model.ts'
import { engineError } from './errors.ts'
import type { Executor } from './executor.ts'
import { InputBatch } from './input-batch.ts'
import { keepCache } from './keep-cache.ts'
import type { KvMoves } from './kv-moves.ts'
import type { KvTier } from './kv-tier.ts'
import { type DraftParts, makeDraftModel, makeScheduler } from './make-scheduler.ts'
import { makeSequence, type SequenceLimits } from './make-sequence.ts'
import { endUpdate, stepUpdate } from './report.ts'
import type { Scheduler } from './scheduler.ts'
import type { SchedulingOptions } from './scheduling-options.ts'
import { type Sequence, SequenceStatus } from './sequence.ts'
import { StepTrace } from './step-trace.ts'
import type { EngineCoreStats, SequenceSpec, SequenceUpdate, StepResult } from './updates.ts'
import { queueTimeout, refuseLongWait, WaitEstimate } from './wait-estimate.ts'

export interface EngineCoreOptions {
  readonly executor: Executor
  readonly clock: Clock
  /** Longest sequence, prompt and answer together: 2 ≤ n, at most what a block table can hold. */
  readonly maxContextTokens: number
  /** The model's own end-of-sequence ids. */
  readonly eosTokenIds: readonly number[]
  readonly scheduling: SchedulingOptions
  /** Two words that nobody outside knows; they key the prefix cache's hash. */
  readonly hashKey: readonly [number, number]
  /** Where full blocks go that the prefix cache has to forget; absent = nowhere. */
  readonly tier?: KvTier | null
  /** A second model that guesses; absent = none. */
  readonly draft?: DraftParts | null
}

export class EngineCore {
  readonly #executor: Executor
  readonly #clock: Clock
  readonly #limits: SequenceLimits
  readonly #scheduler: Scheduler
  readonly #moves: KvMoves | null
  readonly #tier: KvTier | null
  readonly #draftModel: DraftModel | null
  readonly #waits: WaitEstimate
  readonly #batch: InputBatch
  readonly #sequences = new Map<SequenceId, Sequence>()
  readonly #numDrawn: Uint8Array // [maxNumSeqs]
  /** Made and not yet given out. */
  #updates: SequenceUpdate[] = []
  #isExecuting = false
  #hasCancelRequests = false
  #stoppedBy: InvariantError | null = null
  #numArrivals = 0
  readonly #counters = new CoreCounters()
  /** Null while nobody looks. */
  #trace: StepTrace | null = null

  /** @throws ENGINE_BAD_LIMITS when the limits leave no row for each sequence, or no block table for the context */
  constructor(options: EngineCoreOptions) {
    const { executor, maxContextTokens, eosTokenIds } = options
    checkContext(executor.limits, maxContextTokens)
    this.#executor = executor
    this.#clock = options.clock
    const { limits, adapters } = executor
    this.#limits = { limits, maxContextTokens, eosTokenIds, adapters }
    const { scheduler, moves } = makeScheduler(options)
    this.#scheduler = scheduler
    this.#moves = moves
    this.#draftModel = makeDraftModel(options, scheduler)
    this.#tier = options.tier ?? null
    this.#waits = new WaitEstimate(this.#scheduler.costModel)
    this.#batch = new InputBatch(executor.limits, executor.arrays)
    this.#numDrawn = new Uint8Array(executor.limits.maxNumSeqs)
  }

  /** Whether `step` would do or tell anything. */
  get hasWork(): boolean {
    return this.#sequences.size > 0 || this.#updates.length > 0
  }

  /**
   * Queue a sequence; it joins the next step that has room. `spec.promptIds` is kept, not copied.
   *
   * @throws ENGINE_EMPTY_PROMPT, ENGINE_CONTEXT_TOO_LONG, ENGINE_SEQUENCE_NEVER_FITS, ENGINE_TOKEN_OUT_OF_RANGE,
   *   ENGINE_ADAPTER_NOT_LOADED, ENGINE_QUEUE_TOO_LONG: the sequence then does not exist and gets no update
   */
  add(spec: SequenceSpec): void {
    if (this.#stoppedBy !== null) throw this.#stoppedBy
    invariant(!this.#sequences.has(spec.id), 'E1', 'a sequence id is used twice')
    const sequence = makeSequence(spec, this.#limits, this.#clock.nowMs(), this.#numArrivals)
    if (spec.maxQueueMs !== null) refuseLongWait(this.#predictedWaitMs(), spec.maxQueueMs)
    this.#numArrivals += 1
    this.#sequences.set(spec.id, sequence)
    const leader = spec.leader === undefined ? undefined : this.#sequences.get(spec.leader)
    this.#scheduler.add(sequence, leader ?? null)
    this.#scheduler.restores?.wake()
  }

  /**
   * End a sequence: its blocks are free before the next step is scheduled, and its last update comes with the next
   * result. An id that is unknown or has ended is ignored, for a cancel and an end may cross on their way.
   */
  cancel(id: SequenceId): void {
    const sequence = this.#sequences.get(id)
    if (sequence === undefined) return
    const isRunning = sequence.status === SequenceStatus.running
    if (isRunning && this.#isExecuting) {
      sequence.isCancelRequested = true
      this.#hasCancelRequests = true
      return
    }
    if (!isRunning) this.#scheduler.removeWaiting(sequence)
    this.#scheduler.restores?.wake()
    this.#end(sequence, SequenceStatus.finishedCancelled, null, this.#clock.nowMs())
    if (isRunning) this.#scheduler.removeFinished()
  }

  /**
   * Compute one step and say what came of it. Without work it returns at once.
   *
   * Scheduling, filling and committing allocate nothing in steady state; the updates and the promise do.
   *
   * @throws InvariantError, after which the engine is stopped (E3)
   */
  async step(): Promise<StepResult> {
    if (this.#stoppedBy !== null) throw this.#stoppedBy
    try {
      invariant(!this.#isExecuting, 'E3', 'a step begins before the last one has ended')
      if (this.#draftModel !== null) await this.#draft(this.#draftModel)
      const startMs = this.#clock.nowMs()
      this.#scheduler.schedule(startMs)
      this.#endExpired(startMs)
      this.#bindSamplers(startMs)
      this.#batch.fill(this.#scheduler.running)
      const failure = await this.#execute()
      const endMs = this.#clock.nowMs()
      this.#endCancelled(endMs)
      const movingMs = this.#moves?.takeMs() ?? 0
      if (failure === null) this.#learn(endMs - startMs - movingMs)
      this.#trace?.record(this.#batch, this.#scheduler, startMs, endMs)
      if (failure === null) this.#commit(endMs)
      else this.#failBatch(failure, endMs)
      this.#scheduler.removeFinished()
      this.#counters.stepMs = endMs - startMs
    } catch (error) {
      this.#stoppedBy =
        error instanceof InvariantError ? error : new InvariantError('E3', reasonOf(error))
      throw this.#stoppedBy
    }
    return this.#takeUpdates()
  }

  /** Whether a sequence inside is answered by this adapter. Cost: O(sequences). */
  usesAdapter(slot: number): boolean {
    for (const { adapter } of this.#sequences.values()) if (adapter === slot) return true
    return false
  }

  stats(): EngineCoreStats {
    const waitMs = this.#predictedWaitMs()
    return this.#counters.stats(this.#scheduler, this.#batch, this.#tier, waitMs)
  }

  /** Before its end, when nothing may be added any more: hand what is cached to the tier, until `untilMs`. */
  async keepCache(untilMs: number): Promise<void> {
    invariant(!this.hasWork, 'E3', 'the cache is handed over while sequences run')
    if (this.#tier !== null) await keepCache(this.#scheduler, this.#tier, this.#clock, untilMs)
  }

  /** Check pool, queues and slots against each other, between steps. Cost: O(blocks + sequences). */
  checkIntegrity(): void {
    checkScheduler(this.#scheduler, this.#executor.limits)
    const { running, numWaiting } = this.#scheduler
    this.#batch.checkIntegrity(running)
    this.#draftModel?.checkIntegrity(running)
    invariant(
      this.#sequences.size === running.length + numWaiting,
      'E2',
      'a sequence is lost or held twice',
    )
  }

  /** Guesses for the step to come; whoever is cancelled meanwhile is not in it. */
  async #draft(draftModel: DraftModel): Promise<void> {
    const { running, numWaiting } = this.#scheduler
    const isBusy = numWaiting > 0 && running.length < this.#executor.limits.maxNumSeqs
    const startMs = this.#clock.nowMs()
    this.#isExecuting = true
    const guessing = draftModel.propose(running, isBusy)
    if (guessing !== null) await guessing
    this.#isExecuting = false
    if (guessing === null) return
    const endMs = this.#clock.nowMs()
    this.#trace?.guessed(startMs, endMs, running)
    this.#endCancelled(endMs)
    this.#scheduler.removeFinished()
  }

  #predictedWaitMs(): number {
    return this.#waits.waitMs(this.#scheduler, this.#executor.limits.maxNumSeqs)
  }

  /** Those that waited as long as they were willing to. */
  #endExpired(nowMs: number): void {
    const { expired } = this.#scheduler
    for (let index = 0; index < expired.length; index++) {
      const sequence = expired[index]!
      const error = queueTimeout(nowMs - sequence.arrivalMs, this.#predictedWaitMs())
      this.#end(sequence, SequenceStatus.finishedError, error, nowMs)
    }
  }

  /** Record every step from now on. */
  startTrace(): void {
    this.#trace = new StepTrace()
  }

  /** Stop recording. @returns Chrome trace JSON, or null when nothing was recorded */
  endTrace(): string | null {
    const trace = this.#trace
    this.#trace = null
    return trace === null ? null : trace.toJson()
  }

  /** The cost model hears of every step that was computed. */
  #learn(ms: number): void {
    const { numTokens, numKeys, numLogitsRows } = this.#batch
    if (numTokens > 0) this.#scheduler.learn(numTokens, numKeys, numLogitsRows, ms)
  }

  /** Samplers follow the running list: out with the preempted, in with the admitted. A refusal ends its sequence. */
  #bindSamplers(nowMs: number): void {
    const { preempted, admitted } = this.#scheduler
    for (let index = 0; index < preempted.length; index++) this.#unbindSampler(preempted[index]!)
    this.#counters.numPreemptions += preempted.length
    let hasRefused = false
    for (let index = 0; index < admitted.length; index++) {
      const sequence = admitted[index]!
      // Put out again in the same step, for a higher tier: it has no place to draw in.
      if (sequence.status !== SequenceStatus.running) continue
      if (sequence.numPreemptions === 0) this.#counters.numPromptTokens += sequence.numPromptTokens
      const refusal = this.#bindSampler(sequence)
      if (refusal === null) continue
      this.#end(sequence, SequenceStatus.finishedError, refusal, nowMs)
      hasRefused = true
    }
    if (hasRefused) this.#scheduler.removeFinished()
  }

  #bindSampler(sequence: Sequence): ServingError | null {
    const { samplerParams, choice, promptIds } = sequence
    this.#batch.takeSlot(sequence)
    try {
      this.#executor.addSequence(
        sequence.samplerSlot,
        samplerParams,
        choice,
        promptIds,
        sequence.outputIds(),
      )
      return null
    } catch (cause) {
      if (cause instanceof InvariantError) throw cause
      this.#batch.freeSlot(sequence)
      return engineError('ENGINE_SAMPLER_REFUSED', { cause, details: { reason: reasonOf(cause) } })
    }
  }

  #unbindSampler(sequence: Sequence): void {
    if (sequence.samplerSlot < 0) return
    this.#draftModel?.release(sequence)
    this.#executor.removeSequence(sequence.samplerSlot)
    this.#batch.freeSlot(sequence)
  }

  /** Compute the batch; returns why it failed, or null. */
  async #execute(): Promise<ServingError | null> {
    const { numTokens, numSeqs, numLogitsRows } = this.#batch
    if (numSeqs === 0) {
      const { restores } = this.#scheduler
      if (this.#updates.length === 0 && restores !== null && restores.size > 0) {
        await restores.wait()
        return null
      }
      invariant(
        this.#sequences.size === 0 ||
          this.#updates.length > 0 ||
          this.#scheduler.preempted.length > 0,
        'E4',
        'nothing that waits can be scheduled',
      )
      return null
    }
    this.#isExecuting = true
    try {
      await this.#executor.execute(numTokens, numSeqs, numLogitsRows)
      return null
    } catch (cause) {
      if (cause instanceof InvariantError) throw cause
      return engineError('ENGINE_STEP_FAILED', { cause, details: { reason: reasonOf(cause) } })
    } finally {
      this.#counters.numSteps += 1
      this.#isExecuting = false
    }
  }

  /** Cancels that came while the step was computed: what the step drew for them is dropped. */
  #endCancelled(nowMs: number): void {
    if (!this.#hasCancelRequests) return
    this.#hasCancelRequests = false
    for (const sequence of this.#scheduler.running) {
      if (sequence.isCancelRequested)
        this.#end(sequence, SequenceStatus.finishedCancelled, null, nowMs)
    }
  }

  #commit(nowMs: number): void {
    this.#counters.numGeneratedTokens += commitStep(this.#batch, nowMs, this.#numDrawn)
    const { sequences, numSeqs, firstLogitsRows, arrays } = this.#batch
    for (let row = 0; row < numSeqs; row++) {
      const sequence = sequences[row]!
      if (sequence.status === SequenceStatus.finishedCancelled) continue
      const firstRow = firstLogitsRows[row]!
      const endRow = firstLogitsRows[row + 1]!
      if (sequence.status === SequenceStatus.finishedError) {
        const position = this.#batch.unusablePosition(firstRow, endRow)
        const error = engineError('ENGINE_BAD_LOGITS', { details: { position } })
        this.#end(sequence, SequenceStatus.finishedError, error, nowMs)
        continue
      }
      const numDrawn = this.#numDrawn[row]!
      const { numDraftTokens } = sequence
      if (numDraftTokens > 0) this.#counters.judge(numDraftTokens, numDrawn - 1)
      const drawRow = numDrawn > 0 ? endRow - 1 - numDraftTokens : endRow
      this.#scheduler.settle(sequence, numDrawn)
      const rows = { firstRow, drawRow, numDrawn }
      const update = stepUpdate(sequence, rows, arrays, nowMs)
      if (update !== null) this.#updates.push(update)
      if (sequence.isFinished) this.#forget(sequence)
    }
  }

  #failBatch(failure: ServingError, nowMs: number): void {
    const { sequences, numSeqs } = this.#batch
    for (let row = 0; row < numSeqs; row++) {
      const sequence = sequences[row]!
      if (!sequence.isFinished) this.#end(sequence, SequenceStatus.finishedError, failure, nowMs)
    }
  }

  /** End a sequence without a token. Its blocks are freed by the scheduler's next `removeFinished`. */
  #end(
    sequence: Sequence,
    status: SequenceStatus,
    error: ServingError | null,
    nowMs: number,
  ): void {
    sequence.status = status
    this.#forget(sequence)
    this.#updates.push(endUpdate(sequence, error === null ? null : error.toWire(), nowMs))
  }

  #forget(sequence: Sequence): void {
    this.#unbindSampler(sequence)
    this.#scheduler.forget(sequence)
    this.#sequences.delete(sequence.id)
    if (sequence.admittedMs >= 0) this.#waits.ended(this.#clock.nowMs())
  }

  #takeUpdates(): StepResult {
    const updates = this.#updates
    this.#updates = []
    return { updates }
  }
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}
