/**
 * `ingot serve [MODEL]`: the composition root. Config, weights, deployment, server; then waits for a signal and takes
 * everything down in the opposite order.
 *
 *   first signal  → stop admitting → open answers finish, or are cancelled after the grace period → engine → audit → 0
 *   second signal → exit at once with 1
 *   engine given up → as after a signal, but exit with 1
 *
 * I1 whatever was opened is closed, also when a later step of the start fails.
 */

import { loadConfig } from '../config/load-config.ts'
import type { DraftSource } from '../deployment/draft-plan.ts'
import { flagsOf } from './config-flags.ts'
import { openLog } from './log.ts'
import { type ModelAccess, openModelAccess } from './model-access.ts'
import { Progress } from './progress.ts'
import { type RunningServer, startServer } from './running-server.ts'
import { abortOnSignal } from './signals.ts'
import { readyLine } from './start-report.ts'

export async function serveModel(
  model: string | undefined,
  parsed: Readonly<Record<string, unknown>>,
): Promise<void> {
  const configFile = parsed.config as string | undefined
  const flags = { ...flagsOf(parsed), ...(model === undefined ? {} : { 'model.name': model }) }
  const loaded = loadConfig({ configFile, flags })
  const { config } = loaded
  const watch = abortOnSignal()
  const log = openLog(config.log)
  const progress = new Progress()
  let access: ModelAccess | undefined
  let server: RunningServer | undefined
  try {
    access = await openModelAccess(config.store)
    const reference = access.reference(config.model.name)
    const stored = await access.fetch(reference, { signal: watch.signal })
    const { draft: draftName } = config.model
    const draft = draftName === null ? null : await fetchDraft(access, draftName, watch.signal)
    const { logger } = log
    server = await startServer({ loaded, access, reference, stored, draft, logger, progress })
    process.stdout.write(`${server.report}\n`)
    const description = await Promise.race([server.ready, rejection(watch.signal)])
    progress.end()
    process.stdout.write(`${readyLine(server.address, description)}\n`)
    // Ending is all that helps then: what watches over this process may start it again.
    await Promise.race([aborted(watch.signal), server.givenUp])
    const { gracePeriodMs } = config.server
    log.logger.info({ gracePeriodMs }, 'shutting down: open answers may finish')
  } catch (error) {
    if (!watch.signal.aborted) throw error
  } finally {
    progress.end()
    await server?.stop(config.server.gracePeriodMs)
    await access?.store.close()
    watch.stopListening()
    await log.close()
  }
}

async function fetchDraft(
  access: ModelAccess,
  name: string,
  signal: AbortSignal,
): Promise<DraftSource> {
  const { path, digest } = await access.fetch(access.reference(name), { signal })
  return { path, digest, name }
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
