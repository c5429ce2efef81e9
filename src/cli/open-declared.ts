/**
 * Opens the pool of the endpoints that a configuration file declares. The start is refused where a source is unknown, or
 * where stored weights can never fit; weights that are not stored yet are fetched while the others serve.
 */

import { mkdir } from 'node:fs/promises'
import { hostname } from 'node:os'
import { dirname, join } from 'node:path'
import type { Logger } from 'pino'
import { systemClock } from '../base/clock.ts'
import { ServingError } from '../base/errors.ts'
import { type DescribedLine, describe } from '../config/describe.ts'
import { formatBytes } from '../config/option.ts'
import type { EndpointPool } from '../deployment/endpoints/endpoint-pool.ts'
import type { EndpointCatalog } from '../deployment/endpoints/endpoint-spec.ts'
import { restoreCatalog } from '../deployment/endpoints/restore-catalog.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { CatalogHistoryFile } from '../provenance/catalog-history-file.ts'
import { takeLock } from '../store/source-lock.ts'
import { cliError } from './errors.ts'
import { poolAdmin, poolKit } from './open-pool.ts'
import type { ServerStart } from './running-server.ts'
import type { ServedPool } from './served-pool.ts'
import { settingLines } from './start-report.ts'

/** @throws ServingError of the store for an unknown source; DEPLOYMENT_NEVER_FITS and others of a plan */
export async function openDeclared(start: ServerStart, metrics: Metrics): Promise<ServedPool> {
  const { loaded, access, catalog, logger } = start
  const kit = poolKit({
    ...{ loaded, access, metrics, logger },
    onProgress: (stage, fraction) => logger.debug({ stage, fraction }, 'an engine is loading'),
  })
  const pool = kit.open(
    { ...catalog, endpoints: [], aliases: [] },
    {
      isSingle: false,
      onFailed: (endpoint, error) => logger.error({ endpoint }, error.message),
      onTakenBack: (endpoint, reason) =>
        logger.error({ endpoint, reason }, 'the new revision was taken back; declare the old one'),
    },
  )
  const { config } = loaded
  // Beside the audit log, which is this server's own.
  const path = join(dirname(config.audit.file), 'endpoints.jsonl')
  const unlock = await lockDeclarations(path, logger)
  let history: CatalogHistoryFile
  try {
    history = await CatalogHistoryFile.open(path, systemClock)
  } catch (error) {
    await unlock()
    throw error
  }
  const close = async (): Promise<void> => {
    await pool.close(0)
    await history.close()
    await unlock()
  }
  const admin = poolAdmin({ pool, config, history, readCatalog: () => start.readCatalog() })
  try {
    const restored = restoreCatalog(catalog, await history.list())
    await admin.begin(restored, catalog, 'config file')
  } catch (error) {
    await close()
    throw error
  }
  return {
    pool,
    admin,
    traces: kit.traces,
    choices: [],
    report: (version, choices) =>
      `Ingot ${version}\n${describe([...poolLines(pool), ...settingLines(choices)])}`,
    readyLine: async (address) => `ready on ${address}, ${counted(catalog)}`,
    givenUp: new Promise(() => {}),
    // Kept elsewhere, it shows when lines at the end of the history are missing.
    recorded: {
      'endpoints.historySequence': history.head.sequence,
      'endpoints.historyDigest': history.head.digest,
    },
    close,
  }
}

/** Above the age at which a lock counts as stale. */
const OTHER_HOST_MS = 70_000

/**
 * One server at a time writes a history: a second one would end the first one's changes for good.
 *
 * @returns gives it back
 * @throws ServingError CLI_HOME_IN_USE
 */
async function lockDeclarations(history: string, logger: Logger): Promise<() => Promise<void>> {
  const file = `${history}.lock`
  const { signal } = new AbortController()
  const options = { file, source: history, signal, onWait: () => {} }
  await mkdir(dirname(file), { recursive: true })
  for (let patienceMs = 0; ; patienceMs = OTHER_HOST_MS) {
    try {
      return await takeLock({ ...options, patienceMs })
    } catch (cause) {
      if (!(cause instanceof ServingError) || cause.code !== 'STORE_LOCKED') throw cause
      const { pid, host } = cause.details
      // A container that was killed and made anew has another name; its lock is stale after a minute.
      if (patienceMs === 0 && host !== hostname()) {
        logger.warn({ file, pid, host }, 'waiting for another machine’s server to let go of it')
        continue
      }
      const details = { file: history, pid: `${pid} on ${host}` }
      throw cliError('CLI_HOME_IN_USE', { details, cause })
    }
  }
}

function poolLines({ budget, catalog }: EndpointPool): DescribedLine[] {
  const { bytes, reason } = budget.limit
  const { endpoints, aliases } = catalog
  return [
    { name: 'memory-budget', value: formatBytes(bytes), reason },
    ...endpoints.map(({ name, mode, variants }) => ({
      name: 'endpoint',
      value: name,
      reason: `${mode}: ${variants.map((one) => `${one.name} of ${one.source}`).join(', ')}`,
    })),
    ...aliases.map(({ name, targets }) => ({
      name: 'alias',
      value: name,
      reason: targets.join(', then '),
    })),
  ]
}

function counted({ endpoints, aliases }: EndpointCatalog): string {
  const some = (count: number, one: string, many: string): string =>
    `${count} ${count === 1 ? one : many}`
  const names = some(aliases.length, 'alias', 'aliases')
  return `${some(endpoints.length, 'endpoint', 'endpoints')} and ${names}`
}
