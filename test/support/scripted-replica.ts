/**
 * The one replica of a deployment, which does nothing by itself: the test says what the engine would say, and sees what it
 * was asked.
 */

import type { ServingError } from '../../src/base/errors.ts'
import type { SequenceId } from '../../src/base/ids.ts'
import type { ReplicaHealth, ReplicaState } from '../../src/deployment/deployments.ts'
import type { ReplicaGroup, SequenceListener } from '../../src/deployment/replica.ts'
import type { SequenceSpec, SequenceUpdate } from '../../src/worker/messages.ts'

export class ScriptedReplica implements ReplicaGroup {
  readonly submitted: SequenceSpec[] = []
  readonly cancelled: SequenceId[] = []
  refusal: ServingError | null = null
  state: ReplicaState = 'ready'
  /** As the engine would predict. */
  admissionMs: number | null = null
  readonly #listeners = new Map<SequenceId, SequenceListener>()

  get numReady(): number {
    return this.state === 'ready' ? 1 : 0
  }

  get reason(): string | null {
    return this.state === 'ready' ? null : `the engine is ${this.state}`
  }

  submit(sequences: readonly SequenceSpec[], listener: SequenceListener): void {
    if (this.refusal !== null) throw this.refusal
    this.submitted.push(...sequences)
    for (const { id } of sequences) this.#listeners.set(id, listener)
  }

  cancel(ids: readonly SequenceId[]): void {
    this.cancelled.push(...ids)
  }

  health(): readonly Omit<ReplicaHealth, 'modelId'>[] {
    const { state, reason } = this
    const counts = { numRunning: 0, numWaiting: 0, numFreeBlocks: 7, numBlocks: 7 }
    return [{ replica: 0, state, pid: 1, numRestarts: 0, sinceMs: 0, reason, ...counts }]
  }

  /** One step's update of the `index`th sequence that was submitted. */
  update(index: number, change: Partial<SequenceUpdate>): void {
    const id = this.#id(index)
    const update = { ...QUIET, ...change, id }
    const listener = this.#listeners.get(id)
    if (update.finish !== null) this.#listeners.delete(id)
    listener?.onUpdate(update)
  }

  lose(index: number, error: ServingError): void {
    const id = this.#id(index)
    this.#listeners.get(id)?.onLost(id, error)
    this.#listeners.delete(id)
  }

  get numLive(): number {
    return this.#listeners.size
  }

  #id(index: number): SequenceId {
    const spec = this.submitted[index]
    if (spec === undefined) throw new Error(`no sequence ${index} was submitted`)
    return spec.id
  }
}

const QUIET: Omit<SequenceUpdate, 'id'> = {
  tokenIds: [],
  logprobs: null,
  promptLogprobs: null,
  finish: null,
  stopTokenId: null,
  error: null,
  timing: null,
}
