/**
 * Starts what `serve` serves with, and stops it: endpoint pool, metrics, audit log, HTTP server. Owns them until `stop`.
 *
 * I1 whatever was opened is closed, in the opposite order, also when a later step of the start fails.
 */

import type { Logger } from 'pino'
import { systemClock } from '../base/clock.ts'
import type { LoadedConfig } from '../config/load-config.ts'
import type { AuditConfig, Choice, RuntimeConfig } from '../config/runtime-config.ts'
import { AdapterNames, ConfinedAdapters } from '../deployment/adapters/adapter-admin.ts'
import { loadModules } from '../deployment/adapters/start-modules.ts'
import { declarationDefaults } from '../deployment/endpoints/endpoint-file.ts'
import type { EndpointCatalog } from '../deployment/endpoints/endpoint-spec.ts'
import type { EndpointsAdmin } from '../deployment/endpoints/endpoints-admin.ts'
import { createMetrics, type Metrics } from '../metrics/metrics.ts'
import { watchProcess } from '../metrics/process-metrics.ts'
import { diskFiles } from '../provenance/audit-files.ts'
import { AuditLog, DEFAULT_AUDIT_OPTIONS } from '../provenance/audit-log.ts'
import { AUDIT_RECORD_VERSION } from '../provenance/audit-record.ts'
import { buildServer } from '../server/app.ts'
import { DEFAULT_SERVER_CONFIG, type ServerConfig } from '../server/server-config.ts'
import type { SpareEngine } from '../worker/fork-engine.ts'
import { listen } from './listen.ts'
import { machineFacts } from './machine-facts.ts'
import type { ModelAccess } from './model-access.ts'
import { openDeclared } from './open-declared.ts'
import { type NamedModel, openSingle } from './open-single.ts'
import { packageFiles } from './package-files.ts'
import type { Progress } from './progress.ts'
import { mergeChoices } from './start-report.ts'

export interface ServerStart {
  readonly loaded: LoadedConfig
  readonly access: ModelAccess
  /** What the configuration file declares besides settings. */
  readonly catalog: EndpointCatalog
  /** Reads the file again. @throws ServingError of the configuration */
  readCatalog(): EndpointCatalog
  /** `null` = the endpoints of the catalog are served. */
  readonly model: NamedModel | null
  readonly logger: Logger
  readonly progress: Progress
  /** A process that the named model's engine becomes. */
  readonly spare?: SpareEngine | undefined
}

export interface RunningServer {
  /** What was chosen and why, for people. */
  readonly report: string
  /** Said once it is ready; rejects when it never will be. */
  readonly ready: Promise<string>
  /** Rejects with WORKER_GIVEN_UP when the one engine will not be started again; pending until then. */
  readonly givenUp: Promise<never>
  /** Reads the configuration file again and applies it, all or nothing. */
  reload(who: string): Promise<void>
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
    const served =
      start.model === null
        ? await openDeclared(start, metrics)
        : await openSingle(start.model, start, metrics)
    const { pool, admin, traces, givenUp } = served
    closers.push(() => served.close())
    const choices = mergeChoices(config.choices, served.choices)
    audit.append(configurationRecord(choices, served.recorded))
    const server = buildServer({
      deployments: pool,
      metrics,
      audit,
      config: serverConfig(config, version),
      administration: {
        endpoints: admin,
        adapters: new ConfinedAdapters(
          new AdapterNames(pool, pool.tools.adapters),
          config.adapters.runtimeFolder,
        ),
        machine: machineFacts(start.loaded),
        defaults: declarationDefaults(config),
        traces,
        nowMs: () => systemClock.wallMs(),
      },
      logger,
    })
    const address = await listen(server, config.server)
    // While weights load, so that no request waits for it.
    server.compileSchemas().catch((error: unknown) => {
      // Requests of that route are answered with a 500; all others go on.
      logger.error({ err: error }, 'the schema of a route cannot be compiled')
    })
    const report = served.report(version, choices)
    const modules = loadModules(pool.tools.adapters, config.adapters, [...pool.endpoints.keys()])
    const ready = Promise.all([served.readyLine(address), modules]).then(([line]) => line)
    // Whoever waits for it hears of a failure; until then it must not count as unheard.
    ready.catch(() => {})
    const stop = async (graceMs: number): Promise<void> => {
      const closed = pool.close(graceMs)
      await server.shutdown(graceMs)
      await Promise.race([closed, delay(CANCEL_MS)])
      await closeAll()
    }
    return { report, ready, givenUp, stop, reload: (who) => reload(admin, who, logger) }
  } catch (error) {
    await closeAll()
    throw error
  }
}

/** A reload that is refused is news for the log; what was declared before serves on. */
async function reload(admin: EndpointsAdmin, who: string, logger: Logger): Promise<void> {
  try {
    const { changes } = await admin.reload(who)
    const names = changes.map(({ what, name }) => `${what} ${name}`)
    logger.info({ who, names }, 'the configuration was read again')
  } catch (error) {
    const { code, message } = error as { code?: string; message: string }
    logger.error({ who, code }, `the configuration stays as it was: ${message}`)
  }
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

function configurationRecord(
  choices: readonly Choice[],
  recorded: Readonly<Record<string, string | number>>,
) {
  return {
    type: 'configuration',
    version: AUDIT_RECORD_VERSION,
    time: new Date(systemClock.wallMs()).toISOString(),
    settings: {
      ...Object.fromEntries(choices.map(({ key, value }) => [key, value])),
      ...recorded,
    },
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
