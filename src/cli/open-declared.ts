/**
 * Opens the pool of the endpoints that a configuration file declares. The start is refused where a source is unknown, or
 * where stored weights can never fit; weights that are not stored yet are fetched while the others serve.
 */

import { dirname, join } from 'node:path'
import { systemClock } from '../base/clock.ts'
import { type DescribedLine, describe } from '../config/describe.ts'
import { formatBytes } from '../config/option.ts'
import type { EndpointPool } from '../deployment/endpoints/endpoint-pool.ts'
import type { EndpointCatalog } from '../deployment/endpoints/endpoint-spec.ts'
import { restoreCatalog } from '../deployment/endpoints/restore-catalog.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { CatalogHistoryFile } from '../provenance/catalog-history-file.ts'
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
    },
  )
  const { config } = loaded
  // Beside the audit log, which is this server's own.
  const path = join(dirname(config.audit.file), 'endpoints.jsonl')
  const history = await CatalogHistoryFile.open(path, systemClock)
  const close = async (): Promise<void> => {
    await pool.close(0)
    await history.close()
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
