/**
 * A replica in a process of its own, with its engine's statistics turned into metrics and its words into the log.
 * Knows the worker's supervisor and the metrics; owns neither afterwards.
 */

import type { ServingError } from '../base/errors.ts'
import { EngineMetrics } from '../metrics/engine-metrics.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { SpareEngine } from '../worker/fork-engine.ts'
import type { EngineOptions } from '../worker/messages.ts'
import { ReplicaSupervisor, type SupervisorStatus } from '../worker/replica-supervisor.ts'
import type { Replica } from './replica.ts'
import type { StepTraces } from './step-traces.ts'

export interface ReplicaSurroundings {
  readonly modelId: string
  /** Index within its deployment. */
  readonly index: number
  /** JavaScript file of the engine process. */
  readonly entryPath: string
  /** What starts the process and becomes it; empty = nothing. */
  readonly launcher: readonly string[]
  /** A process that it becomes when it starts. */
  readonly spare: SpareEngine | undefined
  readonly metrics: Metrics
  /** Where its step trace can be switched. */
  readonly traces: StepTraces
  onProgress(stage: string, fraction: number): void
  /** A line that the engine process wrote. */
  onLog(line: string): void
  onStateChange(status: SupervisorStatus): void
  /** An adapter could not be loaded as an engine started. */
  onAdapterFailed?(slot: number, error: ServingError): void
}

export function superviseReplica(
  engine: EngineOptions,
  surroundings: ReplicaSurroundings,
): Replica {
  const { modelId, index, entryPath, launcher, spare, metrics, traces } = surroundings
  const engineMetrics = new EngineMetrics(metrics, modelId, index)
  let numRestarts = 0
  const supervisor = new ReplicaSupervisor({
    entryPath,
    engine,
    launcher,
    spare,
    onProgress: (stage, fraction) => surroundings.onProgress(stage, fraction),
    onLog: (line) => surroundings.onLog(line),
    onAdapterFailed: (slot, error) => surroundings.onAdapterFailed?.(slot, error),
    onStats: (stats) => engineMetrics.update(stats),
    onStateChange: (status) => {
      if (status.state !== 'ready') engineMetrics.stopped()
      for (; numRestarts < status.numRestarts; numRestarts += 1) engineMetrics.restarted()
      if (status.state === 'stopped' || status.state === 'failed') forget()
      surroundings.onStateChange(status)
    },
  })
  const forget = traces.add(modelId, index, supervisor)
  return supervisor
}
