/** What the server serves from, whether one model was named or a file declares many. Types only. */

import type { Choice } from '../config/runtime-config.ts'
import type { EndpointPool } from '../deployment/endpoints/endpoint-pool.ts'
import type { EndpointsAdmin } from '../deployment/endpoints/endpoints-admin.ts'
import type { StepTraces } from '../deployment/step-traces.ts'

export interface ServedPool {
  readonly pool: EndpointPool
  readonly admin: EndpointsAdmin
  readonly traces: StepTraces
  /** Lines that replace those of the same keys in the configuration's table. */
  readonly choices: readonly Choice[]
  /** For people. */
  report(version: string, choices: readonly Choice[]): string
  /** Resolves when it is ready; rejects when it never will be. */
  readyLine(address: string): Promise<string>
  /** Rejects when the server cannot serve any more; pending until then. */
  readonly givenUp: Promise<never>
  /** What the audit log's first record says beside the settings. */
  readonly recorded: Readonly<Record<string, string | number>>
  /** End what is left at once, and close what was opened. */
  close(): Promise<void>
}
