/** What a served variant is given by its endpoint, and what it gives to requests. Types only. */

import type { EngineDescription } from '../../worker/messages.ts'
import type { ModelDeployment } from '../model-deployment.ts'
import type { VariantSpec } from './endpoint-spec.ts'
import type { LoadQueue } from './load-queue.ts'
import type { PlanOptions, PoolTools, PreparedVariant } from './pool-tools.ts'

/** What its endpoint wants of it; read anew each time, for it may be changed while it serves. */
export interface VariantPolicy {
  /** Kept running; 0 = comes with the first request. */
  readonly minReplicas: number
  readonly inactiveTimeoutMs: number | null
  /** May be ended to make room for another model. */
  readonly mayLeave: boolean
  /** CPUs of each replica by its index. */
  readonly cpuSets: readonly string[]
}

export interface VariantOptions {
  readonly modelId: string
  readonly spec: VariantSpec
  readonly tools: PoolTools
  readonly queue: LoadQueue
  policy(): VariantPolicy
  /** Its plan, where it was made when the declaration was checked. */
  readonly prepared: PreparedVariant | null
  plan(options: PlanOptions): Promise<PreparedVariant>
  /** Its phase or its replicas changed. */
  onChange(): void
  /** A replica gave its first token. */
  onReady(description: EngineDescription): void
  /** Its plan or load failed, or its last replica will not live. */
  onFailed(error: Error): void
}

/** Held from the moment a request may use it until it has begun. */
export interface Lease {
  readonly deployment: ModelDeployment
  release(): void
}
