/**
 * `ingot serve [MODEL]`: the composition root. Config, weights, deployment, server; then waits for a signal and takes
 * everything down in the opposite order.
 *
 *   first signal  → stop admitting → open answers finish, or are cancelled after the grace period → engine → audit → 0
 *   second signal → exit at once with 1
 *   engine given up → as after a signal, but exit with 1
 *   SIGHUP, where a file declares endpoints → the file is read again and applied, all or nothing
 *
 * I1 whatever was opened is closed, also when a later step of the start fails.
 */

import {
  type LoadedConfig,
  loadConfig,
  type ReadConfigFile,
  rereadFile,
} from '../config/load-config.ts'
import { catalogOf, EMPTY_CATALOG } from '../deployment/endpoints/catalog-file.ts'
import { declarationDefaults } from '../deployment/endpoints/endpoint-file.ts'
import type { EndpointCatalog } from '../deployment/endpoints/endpoint-spec.ts'
import { SpareEngine } from '../worker/fork-engine.ts'
import { flagsOf } from './config-flags.ts'
import { openLog } from './log.ts'
import { type ModelAccess, openModelAccess } from './model-access.ts'
import { modelSettingProblem } from './model-settings.ts'
import type { NamedModel } from './open-single.ts'
import { packageFiles } from './package-files.ts'
import { Progress } from './progress.ts'
import type { RunningServer } from './running-server.ts'
import { abortOnSignal } from './signals.ts'
import { collectEarly } from './start-memory.ts'

export async function serveModel(
  model: string | undefined,
  parsed: Readonly<Record<string, unknown>>,
): Promise<void> {
  const collectAsUsual = collectEarly()
  const configFile = parsed.config as string | undefined
  const flags = { ...flagsOf(parsed), ...(model === undefined ? {} : { 'model.name': model }) }
  const loaded = loadConfig({ configFile, flags })
  const { config } = loaded
  const catalog = declaredIn(loaded, loaded.file)
  const watch = abortOnSignal()
  const log = openLog(config.log)
  const progress = new Progress()
  let access: ModelAccess | undefined
  let spare: SpareEngine | undefined
  let server: RunningServer | undefined
  try {
    access = await openModelAccess(config.store)
    const model = await namedModel(loaded, catalog, { access, signal: watch.signal })
    const { logger } = log
    // Loads its modules while this process loads the server's, which are most of the program.
    if (model !== null) spare = new SpareEngine(packageFiles().engineEntry)
    const { startServer } = await import('./running-server.ts')
    server = await startServer({
      ...{ loaded, access, catalog, model, logger, progress, spare },
      readCatalog: () => declaredIn(loaded, rereadFile(loaded, configFile)),
    })
    const { reload } = server
    if (model === null) process.on('SIGHUP', () => void reload('SIGHUP'))
    process.stdout.write(`${server.report}\n`)
    const line = await Promise.race([server.ready, rejection(watch.signal)])
    progress.end()
    collectAsUsual()
    process.stdout.write(`${line}\n`)
    // Ending is all that helps then: what watches over this process may start it again.
    await Promise.race([aborted(watch.signal), server.givenUp])
    const { gracePeriodMs } = config.server
    log.logger.info({ gracePeriodMs }, 'shutting down: open answers may finish')
  } catch (error) {
    if (!watch.signal.aborted) throw error
  } finally {
    progress.end()
    spare?.close()
    await server?.stop(config.server.gracePeriodMs)
    await access?.store.close()
    watch.stopListening()
    await log.close()
  }
}

/** What a file declares besides settings. @throws ServingError CONFIG_UNKNOWN_KEY, CONFIG_BAD_VALUE */
function declaredIn({ config }: LoadedConfig, file: ReadConfigFile | null): EndpointCatalog {
  return file === null ? EMPTY_CATALOG : catalogOf(file, declarationDefaults(config))
}

/** The model that was named, fetched; `null` = a file declares what is served. @throws ServingError CLI_BAD_ARGUMENT */
async function namedModel(
  { config }: LoadedConfig,
  { endpoints }: EndpointCatalog,
  { access, signal }: { readonly access: ModelAccess; readonly signal: AbortSignal },
): Promise<NamedModel | null> {
  if (endpoints.length > 0) {
    const problem = modelSettingProblem(config.choices, endpoints.length)
    if (problem !== null) throw problem
    return null
  }
  const { name, draft: draftName } = config.model
  const reference = access.reference(name)
  const stored = await access.fetch(reference, { signal })
  if (draftName === null) return { reference, stored, draft: null }
  const draft = await access.fetch(access.reference(draftName), { signal })
  const { path, digest } = draft
  return { reference, stored, draft: { path, digest, name: draftName } }
}

function rejection(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const onAbort = (): void => reject(signal.reason)
    // A signal that came during the start must not wait for the weights to load.
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
  })
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
