/**
 * Puts an endpoint pool together for this process: plans from the store, replicas in processes of their own, the machine's
 * memory as its budget. Knows rooms' constructors; owns nothing afterwards.
 */

import { join } from 'node:path'
import type { Logger } from 'pino'
import { loadNative } from '../../native/loader.ts'
import { systemClock } from '../base/clock.ts'
import { allowedCpus } from '../config/hardware.ts'
import type { LoadedConfig } from '../config/load-config.ts'
import { Adapters } from '../deployment/adapters/adapters.ts'
import type { CatalogHistory } from '../deployment/endpoints/catalog-history.ts'
import { assertCatalog } from '../deployment/endpoints/check-catalog.ts'
import { affinityLauncher } from '../deployment/endpoints/cpu-affinity.ts'
import { EndpointPool, type PoolOptions } from '../deployment/endpoints/endpoint-pool.ts'
import type {
  EndpointCatalog,
  EndpointSpec,
  VariantSpec,
} from '../deployment/endpoints/endpoint-spec.ts'
import { DEFAULT_PROBE_SETTINGS } from '../deployment/endpoints/health-probe.ts'
import { budgetLimit } from '../deployment/endpoints/memory-budget.ts'
import { PoolAdmin } from '../deployment/endpoints/pool-admin.ts'
import { PoolPlanner } from '../deployment/endpoints/pool-planner.ts'
import type { PlanOptions, PoolTools, PreparedVariant } from '../deployment/endpoints/pool-tools.ts'
import { profileVariants } from '../deployment/endpoints/variant-profiles.ts'
import type { DeploymentSettings } from '../deployment/plan-deployment.ts'
import { SequenceIds } from '../deployment/sequence-ids.ts'
import { StepTraces } from '../deployment/step-traces.ts'
import { superviseReplica } from '../deployment/supervised-replica.ts'
import { TextToolsCache } from '../deployment/text-tools.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { ModelReference } from '../store/model-reference.ts'
import type { StoredModel } from '../store/model-store.ts'
import { beginTokenizer } from '../text/tokenizer.ts'
import type { SpareEngine } from '../worker/fork-engine.ts'
import type { SupervisorStatus } from '../worker/replica-supervisor.ts'
import { systemTimer } from '../worker/timer.ts'
import { type ModelAccess, stageName } from './model-access.ts'
import { packageFiles } from './package-files.ts'
import { plainEndpoint } from './single-model.ts'

export interface PoolSurroundings {
  readonly loaded: LoadedConfig
  readonly access: ModelAccess
  readonly metrics: Metrics
  readonly logger: Logger
  /** A process that the first replica becomes. */
  readonly spare?: SpareEngine | undefined
  /** How far an engine's load has come. */
  onProgress(stage: string, fraction: number): void
  /** An engine process is being started. */
  onLaunched?(): void
}

export interface PoolKit {
  readonly settings: Omit<DeploymentSettings, 'model' | 'hardware' | 'memoryRule'>
  readonly texts: TextToolsCache
  readonly traces: StepTraces
  /** @param planOwn - plans one endpoint in another way; `null` for all others */
  open(
    catalog: EndpointCatalog,
    options: Pick<PoolOptions, 'isSingle' | 'onReady' | 'onFailed' | 'onTakenBack'>,
    planOwn?: (endpoint: EndpointSpec) => PreparedVariant | null,
  ): EndpointPool
}

export function poolKit(surroundings: PoolSurroundings): PoolKit {
  const { loaded, access } = surroundings
  const { config, hardware } = loaded
  const { version, ortVersion } = packageFiles()
  const binding = loadNative()
  const { kernels } = binding.capabilities()
  const { engine, admission, store, choices } = config
  const settings = {
    ...{
      engine,
      admission,
      packs: store.packs,
      kvDisk: store.kvDisk,
      choices,
      version,
      ortVersion,
      kernels,
    },
    traceFolder: join(store.home, 'traces'),
  }
  const traces = new StepTraces()
  const texts = new TextToolsCache(
    (description) => beginTokenizer(description, binding),
    systemClock,
  )
  return {
    settings,
    texts,
    traces,
    open: (catalog, options, planOwn = () => null) => {
      const planner = new PoolPlanner({
        ...{
          settings,
          texts,
          clock: systemClock,
          numCores: hardware.numPhysicalCores,
          allowedCpus: allowedCpus(),
        },
        budgetBytes: () => pool.budget.limit.bytes,
        find: async (variant) => (await access.store.find(referenceOf(access, variant))) ?? null,
        fetch: (variant, plan) => fetchVariant(access, variant, plan),
      })
      const pool = new EndpointPool({
        ...options,
        catalog,
        tools: poolTools({ ...surroundings, traces }, planner, planOwn),
        budgetOf: (bytes) => budgetLimit(bytes, hardware),
      })
      return pool
    },
  }
}

function poolTools(
  {
    loaded,
    metrics,
    logger,
    traces,
    spare,
    onProgress,
    onLaunched,
  }: PoolSurroundings & Pick<PoolKit, 'traces'>,
  planner: PoolPlanner,
  planOwn: (endpoint: EndpointSpec) => PreparedVariant | null,
): PoolTools {
  const { engineEntry, version } = packageFiles()
  const ids = new SequenceIds()
  return {
    clock: systemClock,
    timer: systemTimer,
    adapters: new Adapters(loaded.config.adapters, systemClock),
    probe: DEFAULT_PROBE_SETTINGS,
    version,
    chance: Math.random,
    nextSequenceId: () => ids.next(),
    plan: async (endpoint, variant, options) =>
      planOwn(endpoint) ?? planner.plan(endpoint, variant, options),
    planStored: async (endpoint, variant) =>
      planOwn(endpoint) ?? planner.planStored(endpoint, variant),
    createReplica: (asked) => {
      const { engine, modelId, index, cpuSet, onStateChange, onAdapterFailed } = asked
      onLaunched?.()
      return superviseReplica(engine, {
        ...{ modelId, index, spare, metrics, traces, onProgress },
        launcher: cpuSet === null ? [] : affinityLauncher(modelId, cpuSet, allowedCpus()),
        entryPath: engineEntry,
        onLog: (line) => logger.warn({ modelId, replica: index }, `engine: ${line}`),
        ...(onAdapterFailed === undefined ? {} : { onAdapterFailed }),
        onStateChange: (status) => {
          logStateChange(logger, { modelId, replica: index }, status)
          onStateChange(status)
        },
      })
    },
  }
}

/** A pinned digest replaces what the catalog knows: other weights are refused. */
function referenceOf(access: ModelAccess, { source, digest }: VariantSpec): ModelReference {
  const reference = access.reference(source)
  return digest === null ? reference : { ...reference, sha256: digest.replace(/^sha256:/, '') }
}

function fetchVariant(
  access: ModelAccess,
  variant: VariantSpec,
  { onProgress, signal }: PlanOptions,
): Promise<StoredModel> {
  return access.store.fetch(referenceOf(access, variant), {
    signal,
    onProgress: (stage, doneBytes, totalBytes) => {
      const percent =
        totalBytes === null ? '' : ` ${Math.floor((100 * doneBytes) / Math.max(1, totalBytes))} %`
      onProgress(`its weights are not here yet: ${stageName(stage)}${percent}`)
    },
  })
}

/** A start and a stop that were asked for are no news; the terminal says them. */
function logStateChange(
  logger: Logger,
  names: { readonly modelId: string; readonly replica: number },
  { state, pid, reason, numRestarts }: SupervisorStatus,
): void {
  const line = { ...names, state, pid, reason, numRestarts }
  const message = 'the replica’s state has changed'
  if (state === 'failed') logger.error(line, message)
  else if (state === 'restarting') logger.warn(line, message)
  else if (numRestarts > 0) logger.info(line, message)
  else logger.debug(line, message)
}

export interface AdminParts {
  readonly pool: EndpointPool
  readonly config: LoadedConfig['config']
  readonly history: CatalogHistory
  /** `null` = no file declares endpoints. */
  readonly readCatalog: (() => EndpointCatalog) | null
}

export function poolAdmin({ pool, config, history, readCatalog }: AdminParts): PoolAdmin {
  return new PoolAdmin({
    ...{ pool, history, readCatalog },
    check: (after) => assertCatalog(after, pool.catalog),
    profile: (_, source) => profileVariants(pool, source, (one) => plainEndpoint(one, one, config)),
  })
}
