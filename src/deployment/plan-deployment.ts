/**
 * Decides everything about serving one model before a process is made: facts → sizes → card → what its engine is told.
 * Reads headers only. Owns nothing.
 */

import type { Clock } from '../base/clock.ts'
import type { Hardware } from '../config/hardware.ts'
import type {
  AdmissionConfig,
  Choice,
  EngineConfig,
  ModelConfig,
  StoreConfig,
} from '../config/runtime-config.ts'
import type { WeightPlan } from '../graph/plan-weights.ts'
import type { EngineOptions } from '../worker/messages.ts'
import type { ModelCard } from './deployments.ts'
import { type DraftPlan, type DraftSource, draftOptions, planDraft } from './draft-plan.ts'
import { type EnginePlan, type MemoryRule, planEngine } from './engine-plan.ts'
import { exportedChoices, exportedKvDtype } from './exported-model.ts'
import type { FactsCache } from './facts-cache.ts'
import { type ModelFacts, readModelFacts } from './model-facts.ts'
import { servingConfigDigest } from './serving-config-digest.ts'
import { quantizationName, weightChoices, weightsIdentity } from './weights-report.ts'

export interface DeploymentSource {
  /** Local file or folder of verified weights. */
  readonly path: string
  /** sha256 of it, hex. */
  readonly digest: string
  /** First the id; at least one. */
  readonly names: readonly string[]
  /** Organisation for listings. */
  readonly ownedBy: string
  /** A smaller model that guesses for it. */
  readonly draft?: DraftSource | null
}

export interface DeploymentSettings {
  readonly model: Pick<ModelConfig, 'weights'>
  readonly engine: EngineConfig
  readonly admission: AdmissionConfig
  /** Where packed weights are kept. */
  readonly packs: StoreConfig['packs']
  /** Where prompt beginnings are kept; no bytes, or absent: nowhere. */
  readonly kvDisk?: StoreConfig['kvDisk']
  /** Where step traces are written. */
  readonly traceFolder: string
  /** What automatic sizes are cut out of, and how; default: as for a model that has the machine for itself. */
  readonly hardware: Pick<Hardware, 'freeMemoryBytes' | 'memoryReason'>
  readonly memoryRule?: MemoryRule
  /** Where what a checkpoint says of itself is kept; absent = it is read. */
  readonly facts?: FactsCache
  /** Of the configuration: what was written, and where. */
  readonly choices: readonly Choice[]
  readonly version: string
  readonly ortVersion: string
  /** Kernel family of this machine. */
  readonly kernels: string
}

export interface DeploymentPlan {
  readonly source: DeploymentSource
  readonly facts: ModelFacts
  readonly sizes: EnginePlan
  readonly weights: WeightPlan
  /** Null when no model guesses for it. */
  readonly draft: DraftPlan | null
  /** Packed weights and K and V of one token, of the model and of its draft model. */
  readonly memory: { readonly weightsBytes: number; readonly kvBytesPerToken: number }
  /** Lines that replace those of the same keys in the configuration's table. */
  readonly choices: readonly Choice[]
  readonly card: ModelCard
  readonly engine: EngineOptions
  readonly maxQueuedSequences: number
}

/** @throws ServingError of the checkpoint and models rooms; DEPLOYMENT_* when the plan does not work out */
export async function planDeployment(
  source: DeploymentSource,
  settings: DeploymentSettings,
  clock: Clock,
): Promise<DeploymentPlan> {
  const { engine, admission, hardware, memoryRule } = settings
  const facts = await (settings.facts?.of(source) ?? readModelFacts(source.path))
  const { weights: choice } = settings.model
  const weights = facts.planWeights(choice)
  const { maxDraftTokens } = engine.scheduling
  const draft = source.draft ? await planDraft(source.draft, facts, maxDraftTokens) : null
  const memory = memoryOf(facts, weights, draft, engine)
  const { maxContextTokens } = facts.config
  const sizes = planEngine(engine, { ...memory, maxContextTokens }, hardware, memoryRule)
  const { exported } = facts
  const byGraph = exported === null ? [] : exportedChoices(exported, settings.choices)
  const choices = [...sizes.choices, ...weightChoices(choice, weights), ...byGraph]
  return {
    source,
    facts,
    sizes,
    weights,
    draft,
    memory,
    choices,
    card: makeCard(source, settings, { facts, sizes, weights, clock }),
    engine: engineOptions(source, settings, { facts, sizes, draft }),
    maxQueuedSequences: admission.maxQueuedSequences,
  }
}

function memoryOf(
  facts: ModelFacts,
  weights: WeightPlan,
  draft: DraftPlan | null,
  { kvDtype }: EngineConfig,
): DeploymentPlan['memory'] {
  return {
    weightsBytes: weights.packedBytes + (draft?.weightsBytes ?? 0),
    kvBytesPerToken: facts.kvBytesPerToken(kvDtype) + (draft?.kvBytesPerToken(kvDtype) ?? 0),
  }
}

interface Decided {
  readonly facts: ModelFacts
  readonly sizes: EnginePlan
}

interface CardParts {
  readonly weights: WeightPlan
  readonly clock: Clock
}

function makeCard(
  { names, digest, ownedBy }: DeploymentSource,
  settings: DeploymentSettings,
  { facts, sizes, weights, clock }: Decided & CardParts,
): ModelCard {
  const [id = 'model', ...aliases] = names
  const modelDigest = `sha256:${digest}`
  const { maxContextTokens } = sizes
  const { version, ortVersion, engine, kernels } = settings
  const { exported } = facts
  const computed =
    exported === null
      ? { activations: engine.activations, kvDtype: engine.kvDtype, kernels }
      : {
          activations: exported.activations,
          kvDtype: exportedKvDtype(exported),
          kernels: `onnxruntime on ${kernels}`,
          threads: engine.threads,
        }
  return Object.freeze({
    id,
    aliases: Object.freeze(aliases),
    created: Math.floor(clock.wallMs() / 1000),
    ownedBy,
    digest: modelDigest,
    quantization: quantizationName(settings.model.weights, weights, facts.quantization),
    servingConfigDigest: servingConfigDigest({
      modelDigest,
      weights: weightsIdentity(settings.model.weights, weights),
      ...computed,
      ortVersion,
      version,
      maxContextTokens,
    }),
    maxContextTokens,
    vocabSize: facts.config.vocabSize,
    hasChatTemplate: (facts.tokenizer?.chatTemplates.size ?? 0) > 0,
  })
}

function engineOptions(
  { path, digest }: DeploymentSource,
  { engine, model, packs, kvDisk, traceFolder, version }: DeploymentSettings,
  { facts, sizes, draft }: Decided & Pick<DeploymentPlan, 'draft'>,
): EngineOptions {
  const { threads, activations, kvDtype, blockSize, maxNumBatchedTokens, maxNumSeqs } = engine
  return {
    checkpointPath: path,
    weights: model.weights,
    packs: { ...packs, modelDigest: digest },
    threads,
    activations,
    kvDtype,
    kvMemoryBytes: sizes.kvMemoryBytes,
    blockSize,
    maxNumBatchedTokens,
    maxNumSeqs,
    maxContextTokens: sizes.maxContextTokens,
    eosTokenIds: facts.tokenizer?.endTokenIds ?? facts.config.eosTokenIds,
    scheduling: { ...engine.scheduling, swapBytes: sizes.swapBytes },
    traceFolder,
    ...(kvDisk === undefined || kvDisk.limitBytes === 0
      ? {}
      : { kvDisk: { ...kvDisk, modelDigest: digest, version } }),
    ...(draft === null ? {} : { draft: draftOptions(draft, packs) }),
  }
}
