/** A server over `FakeDeployments` with an audit log in memory, for API tests. The caller closes it. */

import { createMetrics, type Metrics } from '../../src/metrics/metrics.ts'
import type { AuditLogStatus, AuditSink } from '../../src/provenance/audit-log.ts'
import type { AuditEntry, AuditRecord } from '../../src/provenance/audit-record.ts'
import { buildServer, type IngotServer, type ServerParts } from '../../src/server/app.ts'
import { DEFAULT_SERVER_CONFIG, type ServerConfig } from '../../src/server/server-config.ts'
import { FakeDeployments, type FakeScript } from './fake-deployments.ts'

export class MemoryAudit implements AuditSink {
  readonly entries: AuditEntry[] = []
  refusal: Error | null = null
  current: AuditLogStatus = { isHealthy: true, numPending: 0, reason: null }

  get records(): AuditRecord[] {
    return this.entries.filter((entry) => entry.type === 'request')
  }

  append(entry: AuditEntry): void {
    this.entries.push(entry)
  }

  assertAccepting(): void {
    if (this.refusal !== null) throw this.refusal
  }

  status(): AuditLogStatus {
    return this.current
  }
}

export interface TestServer {
  readonly app: IngotServer
  readonly deployments: FakeDeployments
  readonly audit: MemoryAudit
  readonly metrics: Metrics
}

export interface TestServerOptions {
  readonly script?: FakeScript
  readonly config?: Partial<ServerConfig>
  readonly parts?: Partial<Pick<ServerParts, 'clock' | 'timers' | 'logger' | 'administration'>>
}

export function testServer({ script, config, parts }: TestServerOptions = {}): TestServer {
  const deployments = new FakeDeployments(script)
  const audit = new MemoryAudit()
  const metrics = createMetrics('0.0.0-test')
  const app = buildServer({
    deployments,
    audit,
    metrics,
    config: { ...DEFAULT_SERVER_CONFIG, version: '0.0.0-test', ...config },
    ...parts,
  })
  return { app, deployments, audit, metrics }
}

/** Listen on a free port of the loopback; returns the base URL without a path. */
export function listen(app: IngotServer): Promise<string> {
  return app.listen({ host: '127.0.0.1', port: 0 })
}

/** The JSON of each `data:` line, `[DONE]` as that string, comments left out. */
export function sseData(text: string): unknown[] {
  return text
    .split('\n\n')
    .filter((frame) => frame.startsWith('data: '))
    .map((frame) => (frame === 'data: [DONE]' ? '[DONE]' : JSON.parse(frame.slice(6))))
}
