/**
 * Routes for whoever runs the server: health, metrics, version. No model is asked, so they answer while it is loading
 * or overloaded.
 *
 * Owns nothing. `/ping` and `/v1/health` are what vLLM, SageMaker and llama-server call the same thing.
 */

import type { FastifyInstance, FastifyReply } from 'fastify'
import type { HealthReport } from '../deployment/deployments.ts'
import type { AuditLogStatus } from '../provenance/audit-log.ts'
import { replicaView } from './replica-view.ts'
import type { ServingContext } from './serving.ts'

interface HealthBody {
  readonly status: HealthReport['status'] | 'draining'
  readonly reasons: readonly string[]
  readonly open_requests: number
  readonly replicas: readonly object[]
  readonly audit: { readonly healthy: boolean; readonly pending_records: number }
}

export function operationsRoutes(app: FastifyInstance, context: ServingContext): void {
  const { config, metrics } = context
  const health = async (_request: unknown, reply: FastifyReply): Promise<HealthBody> => {
    const body = healthBody(context)
    const isServing = body.status === 'ok' || body.status === 'degraded'
    if (!isServing) reply.code(503).header('retry-after', String(config.retryAfterSeconds))
    return body
  }
  const summary = 'Whether answers can be had: 200 when status is ok or degraded, else 503'
  app.get('/health', { schema: { summary, tags: ['operations'] } }, health)
  app.get('/v1/health', { schema: { hide: true } }, health)
  app.get('/ping', { schema: { hide: true } }, health)
  app.get(
    '/version',
    { schema: { summary: 'Version of Ingot', tags: ['operations'] } },
    async () => ({ version: config.version }),
  )
  app.get(
    '/metrics',
    { schema: { summary: 'Metrics in Prometheus text format', tags: ['operations'] } },
    async (_request, reply) => {
      context.metrics.auditPending.set(context.audit.status().numPending)
      reply.type(metrics.registry.contentType)
      return metrics.registry.metrics()
    },
  )
}

function healthBody({ deployments, audit, inFlight }: ServingContext): HealthBody {
  const report = deployments.health()
  const auditStatus = audit.status()
  return {
    status: overallStatus(report, auditStatus, inFlight.isDraining),
    reasons: reasonsOf(report, auditStatus),
    open_requests: inFlight.numOpen,
    replicas: report.replicas.map(replicaView),
    audit: { healthy: auditStatus.isHealthy, pending_records: auditStatus.numPending },
  }
}

/** An answer that cannot be recorded must not be given, so an audit log that fails is as bad as no model. */
function overallStatus(
  report: HealthReport,
  audit: AuditLogStatus,
  isDraining: boolean,
): HealthBody['status'] {
  if (isDraining) return 'draining'
  return audit.isHealthy ? report.status : 'down'
}

function reasonsOf(report: HealthReport, audit: AuditLogStatus): string[] {
  const reasons = report.replicas.flatMap(({ modelId, replica, reason }) =>
    reason === null ? [] : [`${modelId} replica ${replica}: ${reason}`],
  )
  reasons.push(...(report.reasons ?? []))
  if (!audit.isHealthy) reasons.push(`audit log: ${audit.reason ?? 'unknown'}`)
  return reasons
}
