/**
 * What the endpoints room may not make itself: time, processes, plans. Types only; `pool-planner.ts` plans from the store,
 * tests plan from numbers and make processes of paper.
 */

import type { Clock } from '../../base/clock.ts'
import type { ServingError } from '../../base/errors.ts'
import type { SequenceId } from '../../base/ids.ts'
import type { EngineOptions } from '../../worker/messages.ts'
import type { Timer } from '../../worker/timer.ts'
import type { Adapters } from '../adapters/adapters.ts'
import type { ModelCard } from '../deployments.ts'
import type { Replica, ReplicaStatus } from '../replica.ts'
import type { TextTools } from '../text-tools.ts'
import type { EndpointSpec, Quantization, VariantSpec } from './endpoint-spec.ts'
import type { ProbeSettings } from './health-probe.ts'
import type { ReplicaSize } from './memory-budget.ts'

/** A variant that is planned: its weights are here and everything about serving it is decided. */
export interface PreparedVariant {
  readonly card: ModelCard
  readonly size: ReplicaSize
  readonly kvBytesPerToken: number
  readonly quantization: Quantization
  /** Of one replica. */
  readonly maxNumSeqs: number
  readonly maxQueuedSequences: number
  /** What an engine with so much KV is told. */
  engine(kvBytes: number): EngineOptions
  /** Have them made on another thread, for soon. @throws ServingError of the text room */
  beginTextTools(): void
  /** Made once and kept; waits for what was begun. @throws ServingError of the text room */
  textTools(): TextTools
}

export interface PlanOptions {
  /** Named as people would read it: `downloading 37 %`. */
  onProgress(text: string): void
  readonly signal: AbortSignal
}

export interface ReplicaRequest {
  readonly engine: EngineOptions
  readonly modelId: string
  readonly index: number
  /** CPUs that it is bound to, such as `0-3,8`; `null` = any. */
  readonly cpuSet: string | null
  onStateChange(status: ReplicaStatus): void
  /** An adapter of its base could not be loaded as its engine started. */
  onAdapterFailed?(slot: number, error: ServingError): void
}

export interface PoolTools {
  readonly clock: Clock
  readonly timer: Timer
  readonly probe: ProbeSettings
  readonly adapters: Adapters
  /** Ingot's own version, part of fingerprints. */
  readonly version: string
  /** 0 ≤ x < 1 */
  chance(): number
  /** Unique over the process. */
  nextSequenceId(): SequenceId
  createReplica(request: ReplicaRequest): Replica
  /**
   * Fetch the weights when they are not stored, and decide everything about serving them.
   *
   * @throws ServingError of the store, checkpoint and models rooms; DEPLOYMENT_* when the plan does not work out
   */
  plan(endpoint: EndpointSpec, variant: VariantSpec, options: PlanOptions): Promise<PreparedVariant>
  /** As far as it can be known without the network; `null` = weights must be fetched first. @throws as `plan` */
  planStored(endpoint: EndpointSpec, variant: VariantSpec): Promise<PreparedVariant | null>
}
