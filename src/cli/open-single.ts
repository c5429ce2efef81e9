/**
 * Opens the pool of `ingot serve MODEL`: plans the one model for the whole machine, as ever, and starts it. The engine
 * loads its weights while a thread makes the tokenizer and this one puts the server together.
 */

import { basename } from 'node:path'
import { loadNative } from '../../native/loader.ts'
import { systemClock } from '../base/clock.ts'
import type { Choice } from '../config/runtime-config.ts'
import type { ModelCard } from '../deployment/deployments.ts'
import type { DraftSource } from '../deployment/draft-plan.ts'
import { MemoryHistory } from '../deployment/endpoints/catalog-history.ts'
import { preparedFrom } from '../deployment/endpoints/pool-planner.ts'
import type { ModelFacts } from '../deployment/model-facts.ts'
import { planDeployment } from '../deployment/plan-deployment.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { ModelReference } from '../store/model-reference.ts'
import type { StoredModel } from '../store/model-store.ts'
import { FirstReadiness } from './first-readiness.ts'
import { poolAdmin, poolKit } from './open-pool.ts'
import type { ServerStart } from './running-server.ts'
import { servedNames } from './served-names.ts'
import type { ServedPool } from './served-pool.ts'
import { singleCatalog } from './single-model.ts'
import { readyLine, startReport } from './start-report.ts'

export interface NamedModel {
  readonly reference: ModelReference
  readonly stored: StoredModel
  /** The model that guesses for it. */
  readonly draft: DraftSource | null
}

/** @throws ServingError of the checkpoint, models and text rooms; DEPLOYMENT_* when the plan does not work out */
export async function openSingle(
  { reference, stored, draft }: NamedModel,
  start: ServerStart,
  metrics: Metrics,
): Promise<ServedPool> {
  const { loaded, access, catalog, logger, progress } = start
  const { config, hardware } = loaded
  const readiness = new FirstReadiness()
  const kit = poolKit({
    ...{ loaded, access, metrics, logger, spare: start.spare },
    onProgress: (stage, fraction) => progress.fraction(stage, fraction),
    onLaunched: () => readiness.onLaunched(),
  })
  const names = servedNames(config.model.servedNames, reference)
  const { path, digest } = stored
  const plan = await planDeployment(
    { path, digest, names, ownedBy: 'ingot', draft },
    { ...kit.settings, model: config.model, hardware },
    systemClock,
  )
  const prepared = preparedFrom(plan, config.model, kit.texts)
  prepared.beginTextTools()
  const { card } = plan
  const isOwn = (name: string): boolean => name === card.id
  const pool = kit.open(
    { ...catalog, ...singleCatalog(reference.name, names, config) },
    {
      isSingle: true,
      onReady: (name, description) => {
        if (isOwn(name)) readiness.onReady(description)
      },
      onFailed: (name, error) => {
        if (isOwn(name)) readiness.onFailed(error)
      },
    },
    ({ name }) => (isOwn(name) ? prepared : null),
  )
  await readiness.launched
  const computed = computedBy(plan.facts)
  const decided = [...plan.choices, ...namesChoice(config.model.servedNames, card)]
  return {
    pool,
    admin: poolAdmin({ pool, config, history: new MemoryHistory(systemClock), readCatalog: null }),
    traces: kit.traces,
    choices: decided,
    report: (version, choices) =>
      startReport({
        ...{ version, card, source: stored.source, sizeBytes: stored.sizeBytes },
        ...computed,
        choices,
      }),
    readyLine: async (address) => {
      // Should they not come out well, the weights need not be waited for.
      prepared.textTools()
      return readyLine(address, await readiness.ready)
    },
    givenUp: readiness.givenUp,
    recorded: {},
    close: () => pool.close(0),
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
