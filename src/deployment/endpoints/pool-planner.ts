/**
 * Plans variants from the store and the configuration: what `PoolTools.plan` is outside of tests. Owns nothing; the text
 * tools that it hands out are their cache's.
 *
 * Automatic KV is cut out of the memory budget, not of what is free at the moment, so that a variant's context and its
 * answers are the same each time it is loaded.
 */

import type { Clock } from '../../base/clock.ts'
import type { Choice, EngineConfig } from '../../config/runtime-config.ts'
import type { StoredModel } from '../../store/model-store.ts'
import { type MemoryRule, SWAP_SHARE } from '../engine-plan.ts'
import { FactsCache } from '../facts-cache.ts'
import { type DeploymentPlan, type DeploymentSettings, planDeployment } from '../plan-deployment.ts'
import type { TextTools, TextToolsCache } from '../text-tools.ts'
import { affinityLauncher, cpusOf } from './cpu-affinity.ts'
import type { EndpointSpec, VariantSpec } from './endpoint-spec.ts'
import { PROCESS_BYTES } from './memory-budget.ts'
import type { PlanOptions, PreparedVariant } from './pool-tools.ts'
import { quantizationWord } from './quantization-word.ts'

export interface PoolPlannerOptions {
  readonly settings: Omit<DeploymentSettings, 'model' | 'hardware' | 'memoryRule'>
  readonly clock: Clock
  readonly texts: TextToolsCache
  /** Cores that are shared out among replicas. */
  readonly numCores: number
  /** CPUs that replicas may be bound to. */
  readonly allowedCpus: readonly number[]
  budgetBytes(): number
  /** What the store has of it; `null` = it must be fetched. @throws ServingError of the store */
  find(variant: VariantSpec): Promise<StoredModel | null>
  fetch(variant: VariantSpec, options: PlanOptions): Promise<StoredModel>
}

/** Beside weights and a process: a quarter, or one whole context where that takes no more than half. */
const POOL_RULE: MemoryRule = {
  weightsFactor: 1,
  reserveBytes: PROCESS_BYTES,
  kvShare: 0.25 / (1 + SWAP_SHARE),
  contextShare: 0.5 / (1 + SWAP_SHARE),
  words: 'a quarter',
}

export class PoolPlanner {
  readonly #options: PoolPlannerOptions
  readonly #facts = new FactsCache()

  constructor(options: PoolPlannerOptions) {
    this.#options = options
  }

  async plan(
    endpoint: EndpointSpec,
    variant: VariantSpec,
    options: PlanOptions,
  ): Promise<PreparedVariant> {
    return this.#planFrom(endpoint, variant, await this.#options.fetch(variant, options))
  }

  async planStored(endpoint: EndpointSpec, variant: VariantSpec): Promise<PreparedVariant | null> {
    const stored = await this.#options.find(variant)
    return stored === null ? null : this.#planFrom(endpoint, variant, stored)
  }

  async #planFrom(
    endpoint: EndpointSpec,
    variant: VariantSpec,
    { path, digest }: StoredModel,
  ): Promise<PreparedVariant> {
    const { settings, clock, texts, budgetBytes, allowedCpus } = this.#options
    // What this machine cannot do is refused now, not when a replica starts.
    for (const cpuSet of endpoint.cpuSets) affinityLauncher(endpoint.name, cpuSet, allowedCpus)
    const plan = await planDeployment(
      { path, digest, names: [endpoint.name], ownedBy: 'ingot' },
      {
        ...settings,
        facts: this.#facts,
        model: { weights: variant.weights },
        engine: this.#engineConfig(endpoint, variant),
        admission: {
          maxQueuedSequences: endpoint.maxQueuedSequences ?? settings.admission.maxQueuedSequences,
        },
        hardware: { freeMemoryBytes: budgetBytes(), memoryReason: 'the memory budget' },
        memoryRule: POOL_RULE,
        choices: choicesOf(settings.choices, variant),
        ...keptOnDisk(endpoint, settings),
      },
      clock,
    )
    return preparedFrom(plan, variant, texts)
  }

  #engineConfig(endpoint: EndpointSpec, variant: VariantSpec): EngineConfig {
    const { engine } = this.#options.settings
    const maxNumSeqs = endpoint.maxNumSeqs ?? engine.maxNumSeqs
    return {
      ...engine,
      activations: variant.activations,
      kvDtype: variant.kvDtype ?? engine.kvDtype,
      kvMemoryBytes: endpoint.kvMemoryBytes ?? engine.kvMemoryBytes,
      maxContextTokens: endpoint.maxContextTokens ?? engine.maxContextTokens,
      maxNumSeqs,
      // Every sequence that runs gets a token in every step.
      maxNumBatchedTokens: Math.max(engine.maxNumBatchedTokens, maxNumSeqs),
      threads: endpoint.threads ?? this.#threadsOf(endpoint),
      scheduling: {
        ...engine.scheduling,
        prefixCache: endpoint.prefixCache ?? engine.scheduling.prefixCache,
        maxDraftTokens: endpoint.maxDraftTokens ?? engine.scheduling.maxDraftTokens,
      },
    }
  }

  /** Replicas of a dedicated endpoint compute side by side; serverless models take turns more than not. */
  #threadsOf({ mode, autoscaling, cpuSets }: EndpointSpec): number {
    const { settings, numCores } = this.#options
    // A replica that is bound to fewer CPUs than it has threads would wait for itself.
    if (cpuSets.length > 0) return Math.min(...cpuSets.map((cpuSet) => cpusOf(cpuSet).length))
    if (mode === 'serverless') return settings.engine.threads
    return Math.max(1, Math.floor(numCores / Math.max(1, autoscaling.maxReplicas)))
  }
}

/** Keys and values tell their prompt, so an endpoint that keeps nothing of requests keeps none of them on a disk. */
export function keptOnDisk(
  { retention }: EndpointSpec,
  { kvDisk }: Pick<DeploymentSettings, 'kvDisk'>,
): Pick<DeploymentSettings, 'kvDisk'> {
  if (kvDisk === undefined) return {}
  return { kvDisk: retention === 'none' ? { ...kvDisk, limitBytes: 0 } : kvDisk }
}

export function preparedFrom(
  plan: DeploymentPlan,
  variant: Pick<VariantSpec, 'weights'>,
  texts: TextToolsCache,
): PreparedVariant {
  const { sizes, engine, card, memory, maxQueuedSequences } = plan
  const { quantization, tokenizer, config } = plan.facts
  // Not the whole plan: it holds the checkpoint's index and every text of its vocabulary.
  const text = { source: plan.source, facts: { tokenizer, config } }
  let tools: TextTools | null = null
  const { kvMemoryBytes, minKvMemoryBytes, swapBytes } = sizes
  // Swap space is in proportion to the KV that it is for.
  const swapShare = swapBytes / kvMemoryBytes
  return {
    card,
    size: {
      weightsBytes: memory.weightsBytes,
      kvBytes: kvMemoryBytes + swapBytes,
      minKvBytes: Math.ceil(minKvMemoryBytes * (1 + swapShare)),
      processBytes: PROCESS_BYTES,
    },
    kvBytesPerToken: memory.kvBytesPerToken,
    quantization: quantizationWord(variant.weights.format, quantization),
    maxNumSeqs: engine.maxNumSeqs,
    maxQueuedSequences,
    engine: (bytes) => {
      const kvBytes = Math.floor(bytes / (1 + swapShare))
      const scheduling = { ...engine.scheduling, swapBytes: bytes - kvBytes }
      return { ...engine, kvMemoryBytes: kvBytes, scheduling }
    },
    beginTextTools: () => texts.begin(text),
    textTools: () => {
      tools ??= texts.of(text)
      return tools
    },
  }
}

/** What the endpoint declares is no wish of the configuration's. */
function choicesOf(choices: readonly Choice[], variant: VariantSpec): readonly Choice[] {
  return choices.map((choice) => {
    if (choice.key === 'engine.activations') return { ...choice, value: variant.activations }
    if (choice.key === 'engine.kvDtype' && variant.kvDtype !== null) {
      return { ...choice, value: variant.kvDtype }
    }
    return choice
  })
}
