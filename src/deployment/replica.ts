/**
 * What a deployment needs of its replicas: take sequences, give back what happened to them, say how they are. Types only;
 * the worker room's supervisor is a replica, `endpoints/replica-set.ts` a group of them, tests have others.
 */

import type { ServingError } from '../base/errors.ts'
import type { SequenceId } from '../base/ids.ts'
import type {
  AdapterSpec,
  EngineDescription,
  EngineStats,
  SequenceSpec,
  SequenceUpdate,
} from '../worker/messages.ts'
import type { ReplicaHealth, ReplicaState } from './deployments.ts'

/** Called on the event loop, never from inside `submit`. */
export interface SequenceListener {
  onUpdate(update: SequenceUpdate): void
  /** The replica died with the sequence in it; no further update comes. */
  onLost(id: SequenceId, error: ServingError): void
}

export interface ReplicaSequences {
  /**
   * Hand sequences over, all or none.
   *
   * @throws ServingError 503 while the replica is not ready
   */
  submit(sequences: readonly SequenceSpec[], listener: SequenceListener): void
  /** Ask for an end; the last update still comes. Ids that have ended already are ignored. */
  cancel(ids: readonly SequenceId[]): void
}

export interface ReplicaStatus {
  readonly state: ReplicaState
  readonly pid: number | null
  readonly numRestarts: number
  /** Milliseconds since this state began. */
  readonly sinceMs: number
  /** Why it is not ready, in one sentence. */
  readonly reason: string | null
  /** Of the last message; `null` while no engine runs. */
  readonly stats: EngineStats | null
}

export interface Replica extends ReplicaSequences {
  /** Start the engine process. Resolves when it is ready for the first time, rejects when it never will be. */
  start(): Promise<EngineDescription>
  status(): ReplicaStatus
  /** Hold an adapter in this process and every later one. @throws ServingError what is wrong with its files */
  loadAdapter(adapter: AdapterSpec): Promise<void>
  /** Hold it no more. @throws ServingError while a sequence inside needs it */
  unloadAdapter(slot: number): Promise<void>
  /** End the process and start it again, as after a crash: it answers pings and not a probe. */
  restart(reason: string): void
  /** End the process; sequences in it are lost. */
  stop(): Promise<void>
}

/** One replica or several that answer alike; what a deployment hands its sequences to. */
export interface ReplicaGroup extends ReplicaSequences {
  readonly numReady: number
  /** Milliseconds until one more sequence is let in, as the engines last predicted; null while none has said so. */
  readonly admissionMs: number | null
  /** Why none is ready, in one sentence. */
  readonly reason: string | null
  /** Of each replica, in the order of their indexes; `modelId` is the deployment's to say. */
  health(): readonly Omit<ReplicaHealth, 'modelId'>[]
}
