/**
 * Starts what `serve` serves with, and stops it: deployment, metrics, audit log, HTTP server. Owns them until `stop`.
 *
 * I1 whatever was opened is closed, in the opposite order, also when a later step of the start fails.
 */

import { basename } from 'node:path'
import type { Logger } from 'pino'
import { loadNative } from '../../native/loader.ts'
import { systemClock } from '../base/clock.ts'
import type { LoadedConfig } from '../config/load-config.ts'
import type { AuditConfig, Choice, RuntimeConfig } from '../config/runtime-config.ts'
import type { ModelCard } from '../deployment/deployments.ts'
import type { DraftSource } from '../deployment/draft-plan.ts'
import type { ModelFacts } from '../deployment/model-facts.ts'
import { createMetrics, type Metrics } from '../metrics/metrics.ts'
import { watchProcess } from '../metrics/process-metrics.ts'
import { diskFiles } from '../provenance/audit-files.ts'
import { AuditLog, DEFAULT_AUDIT_OPTIONS } from '../provenance/audit-log.ts'
import { AUDIT_RECORD_VERSION } from '../provenance/audit-record.ts'
import { buildServer } from '../server/app.ts'
import { DEFAULT_SERVER_CONFIG, type ServerConfig } from '../server/server-config.ts'
import type { ModelReference } from '../store/model-reference.ts'
import type { StoredModel } from '../store/model-store.ts'
import type { EngineDescription } from '../worker/messages.ts'
import { listen } from './listen.ts'
import { machineFacts } from './machine-facts.ts'
import type { ModelAccess } from './model-access.ts'
import { openSingle } from './open-single.ts'
import { packageFiles } from './package-files.ts'
import type { Progress } from './progress.ts'
import { mergeChoices, startReport } from './start-report.ts'

export interface ServerStart {
  readonly loaded: LoadedConfig
  readonly access: ModelAccess
  /** The model that was named. */
  readonly reference: ModelReference
  readonly stored: StoredModel
  /** The model that guesses for it. */
  readonly draft: DraftSource | null
  readonly logger: Logger
  readonly progress: Progress
}

export interface RunningServer {
  /** `http://127.0.0.1:8000` */
  readonly address: string
  /** What was chosen and why, for people. */
  readonly report: string
  /** Settles when the engine is ready for the first time, or never will be. */
  readonly ready: Promise<EngineDescription>
  /** Rejects with WORKER_GIVEN_UP when the engine will not be started again; pending until then. */
  readonly givenUp: Promise<never>
  stop(graceMs: number): Promise<void>
}

/** After the grace period cancelled answers get this long to leave; then the engine is ended under them. */
const CANCEL_MS = 5000

/** @throws ServingError; nothing stays open then */
export async function startServer(start: ServerStart): Promise<RunningServer> {
  const { config } = start.loaded
  const { logger } = start
  const closers: (() => Promise<unknown>)[] = []
  const closeAll = async (): Promise<void> => {
    for (const close of closers.splice(0).reverse()) await close()
  }
  try {
    const { version } = packageFiles()
    const metrics = createMetrics(version)
    const stopWatching = watchProcess(metrics)
    closers.push(async () => stopWatching())
    const audit = await openAudit(config.audit, metrics, logger)
    closers.push(async () => {
      const numLost = await audit.close()
      if (numLost > 0) logger.error({ numLost }, 'audit records could not be written and are lost')
    })
    const opened = await openSingle(start, metrics)
    const { pool, plan, admin, readiness, traces } = opened
    closers.push(() => pool.close(0))
    const prepared = opened.check()
    const { card } = prepared
    const decided = [...plan.choices, ...namesChoice(config.model.servedNames, card)]
    const choices = mergeChoices(config.choices, decided)
    audit.append(configurationRecord(choices))
    const server = buildServer({
      deployments: pool,
      metrics,
      audit,
      config: serverConfig(config, version),
      administration: {
        endpoints: admin,
        machine: machineFacts(start.loaded),
        traces,
        nowMs: () => systemClock.wallMs(),
      },
      logger,
    })
    const address = await listen(server, config.server)
    const report = startReport({
      version,
      card,
      source: start.stored.source,
      sizeBytes: start.stored.sizeBytes,
      ...computedBy(plan.facts),
      choices,
    })
    const stop = async (graceMs: number): Promise<void> => {
      const closed = pool.close(graceMs)
      await server.shutdown(graceMs)
      await Promise.race([closed, delay(CANCEL_MS)])
      await closeAll()
    }
    const { ready, givenUp } = readiness
    return { address, report, ready, givenUp, stop }
  } catch (error) {
    await closeAll()
    throw error
  }
}

/** Which kernels compute, and what they compute from, with the reasons. */
function computedBy({ exported, quantization }: ModelFacts) {
  if (exported === null) {
    const { kernels } = loadNative().capabilities()
    const reasons = { kernelsReason: 'best of this processor' }
    return { kernels, ...reasons, quantizationReason: `stored as ${quantization}` }
  }
  const { graphFile, reason, layout, producer } = exported
  return {
    kernels: 'onnxruntime',
    kernelsReason: `stock operators of a graph exported by ${producer} (${layout})`,
    quantizationReason: `${basename(graphFile)}, ${reason}`,
  }
}

/** Names that nobody chose are a choice of ours, and are said with their reason. */
function namesChoice(configured: readonly string[] | null, card: ModelCard): readonly Choice[] {
  if (configured !== null) return []
  const reason = 'name in the catalog, or of the file'
  return [{ key: 'model.servedNames', value: card.id, reason, origin: 'auto' }]
}

function openAudit(
  { file, fsync }: AuditConfig,
  metrics: Metrics,
  logger: Logger,
): Promise<AuditLog> {
  return AuditLog.open(
    { ...DEFAULT_AUDIT_OPTIONS, file, fsync },
    {
      events: {
        written: (numRecords) => metrics.auditRecords.inc(numRecords),
        failed: (error) => {
          metrics.auditFailures.inc()
          logger.error({ code: error.code }, error.message)
        },
      },
      files: diskFiles,
      clock: systemClock,
    },
  )
}

function configurationRecord(choices: readonly Choice[]) {
  return {
    type: 'configuration',
    version: AUDIT_RECORD_VERSION,
    time: new Date(systemClock.wallMs()).toISOString(),
    settings: Object.fromEntries(choices.map(({ key, value }) => [key, value])),
  } as const
}

function serverConfig({ server }: RuntimeConfig, version: string): ServerConfig {
  const { maxBodyBytes, keepAliveMs, adminToken } = server
  const own = { version, maxBodyBytes, adminToken, sseKeepAliveMs: keepAliveMs }
  return { ...DEFAULT_SERVER_CONFIG, ...own }
}

function delay(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds).unref()
  })
}
