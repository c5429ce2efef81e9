/**
 * Opens the pool of `ingot serve MODEL`: plans the one model for the whole machine, as ever, and starts it. The engine
 * loads its weights while the tokenizer is made here.
 */

import { systemClock } from '../base/clock.ts'
import { MemoryHistory } from '../deployment/endpoints/catalog-history.ts'
import type { EndpointPool } from '../deployment/endpoints/endpoint-pool.ts'
import { PoolAdmin } from '../deployment/endpoints/pool-admin.ts'
import { preparedFrom } from '../deployment/endpoints/pool-planner.ts'
import type { PreparedVariant } from '../deployment/endpoints/pool-tools.ts'
import { profileVariants } from '../deployment/endpoints/variant-profiles.ts'
import { type DeploymentPlan, planDeployment } from '../deployment/plan-deployment.ts'
import type { StepTraces } from '../deployment/step-traces.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { FirstReadiness } from './first-readiness.ts'
import { poolKit } from './open-pool.ts'
import type { ServerStart } from './running-server.ts'
import { servedNames } from './served-names.ts'
import { plainEndpoint, singleCatalog } from './single-model.ts'

export interface OpenedSingle {
  readonly pool: EndpointPool
  readonly admin: PoolAdmin
  readonly plan: DeploymentPlan
  readonly readiness: FirstReadiness
  readonly traces: StepTraces
  /** @throws ServingError when its text tools cannot be made */
  check(): PreparedVariant
}

/** @throws ServingError of the checkpoint and models rooms; DEPLOYMENT_* when the plan does not work out */
export async function openSingle(start: ServerStart, metrics: Metrics): Promise<OpenedSingle> {
  const { loaded, access, reference, stored, draft, logger, progress } = start
  const { config, hardware } = loaded
  const readiness = new FirstReadiness()
  const kit = poolKit({
    ...{ loaded, access, metrics, logger },
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
  const id = plan.card.id
  const pool = kit.open(
    singleCatalog(reference.name, names, config),
    {
      isSingle: true,
      onReady: (name, description) => {
        if (name === id) readiness.onReady(description)
      },
      onFailed: (name, error) => {
        if (name === id) readiness.onFailed(error)
      },
    },
    ({ name }) => (name === id ? prepared : null),
  )
  const admin = new PoolAdmin({
    pool,
    history: new MemoryHistory(systemClock),
    check: () => {},
    readCatalog: null,
    profile: (_, source) => profileVariants(pool, source, (one) => plainEndpoint(one, one, config)),
  })
  await readiness.launched
  const check = (): PreparedVariant => {
    prepared.textTools()
    return prepared
  }
  return { pool, admin, plan, readiness, traces: kit.traces, check }
}
