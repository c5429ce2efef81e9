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
import { type EnginePlan, type MemoryRule, planEngine } from './engine-plan.ts'
import { exportedChoices, exportedKvDtype } from './exported-model.ts'
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
  const facts = await readModelFacts(source.path)
  const { weights: choice } = settings.model
  const weights = facts.planWeights(choice)
  const sizes = planEngine(engine, planFacts(facts, weights, engine), hardware, memoryRule)
  const { exported } = facts
  const byGraph = exported === null ? [] : exportedChoices(exported, settings.choices)
  const choices = [...sizes.choices, ...weightChoices(choice, weights), ...byGraph]
  return {
    source,
    facts,
    sizes,
    weights,
    choices,
    card: makeCard(source, settings, { facts, sizes, weights, clock }),
    engine: engineOptions(source, settings, { facts, sizes }),
    maxQueuedSequences: admission.maxQueuedSequences,
  }
}

function planFacts(facts: ModelFacts, weights: WeightPlan, { kvDtype }: EngineConfig) {
  return {
    weightsBytes: weights.packedBytes,
    kvBytesPerToken: facts.kvBytesPerToken(kvDtype),
    maxContextTokens: facts.config.maxContextTokens,
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
  { facts, sizes }: Decided,
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
  }
}
