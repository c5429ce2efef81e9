/**
 * Puts one deployment together: facts → plan → replica and text tools → card. The replica loads weights in its process
 * while the tokenizer is made in this one.
 *
 * Knows rooms' constructors; owns nothing afterwards.
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
import { ChatTemplate } from '../text/chat-template.ts'
import { NO_TEMPLATE, withoutTokenizer } from '../text/no-tokenizer.ts'
import type { Tokenizer } from '../text/tokenizer.ts'
import type { TokenizerDescription } from '../text/tokenizer-description.ts'
import { checkVocabulary } from '../text/vocabulary-check.ts'
import type { EngineDescription, EngineOptions } from '../worker/messages.ts'
import type { ModelCard } from './deployments.ts'
import { type EnginePlan, planEngine } from './engine-plan.ts'
import { exportedChoices, exportedKvDtype } from './exported-model.ts'
import { ModelDeployment } from './model-deployment.ts'
import { type ModelFacts, readModelFacts } from './model-facts.ts'
import type { Replica } from './replica.ts'
import { SequenceIds } from './sequence-ids.ts'
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
  readonly model: ModelConfig
  readonly engine: EngineConfig
  readonly admission: AdmissionConfig
  /** Where packed weights are kept. */
  readonly packs: StoreConfig['packs']
  /** Where step traces are written. */
  readonly traceFolder: string
  readonly hardware: Hardware
  /** Of the configuration: what was written, and where. */
  readonly choices: readonly Choice[]
  readonly version: string
  readonly ortVersion: string
}

/** What this room may not make itself. */
export interface DeploymentTools {
  readonly clock: Clock
  /** Kernel family of this machine. */
  readonly kernels: string
  createTokenizer(description: TokenizerDescription): Tokenizer
  createReplica(options: EngineOptions, modelId: string): Replica
}

export interface OpenedDeployment {
  readonly deployment: ModelDeployment
  readonly facts: ModelFacts
  readonly plan: EnginePlan
  /** Settles when the replica is ready for the first time, or never will be. */
  readonly ready: Promise<EngineDescription>
}

/** @throws ServingError of the checkpoint, models and text rooms; DEPLOYMENT_* when the plan does not work out */
export async function openDeployment(
  source: DeploymentSource,
  settings: DeploymentSettings,
  tools: DeploymentTools,
): Promise<OpenedDeployment> {
  const { engine, admission } = settings
  const facts = await readModelFacts(source.path)
  const { weights: choice } = settings.model
  const weights = facts.planWeights(choice)
  const sizes = planEngine(engine, planFacts(facts, weights, engine), settings.hardware)
  const { exported } = facts
  const byGraph = exported === null ? [] : exportedChoices(exported, settings.choices)
  const choices = [...sizes.choices, ...weightChoices(choice, weights), ...byGraph]
  const plan = { ...sizes, choices }
  const card = makeCard(source, settings, { facts, plan, weights, tools })
  // A template that cannot be parsed must stop the start before a process is made.
  const template =
    facts.tokenizer === null
      ? NO_TEMPLATE
      : new ChatTemplate(facts.tokenizer, { clock: tools.clock })
  const replica = tools.createReplica(engineOptions(source, settings, { facts, plan }), card.id)
  const ready = replica.start()
  // Whoever waits for it hears of a failure; until then it must not count as unheard.
  ready.catch(() => {})
  try {
    const tokenizer =
      facts.tokenizer === null
        ? withoutTokenizer(facts.config.eosTokenIds)
        : tools.createTokenizer(facts.tokenizer)
    if (facts.tokenizer !== null) {
      checkVocabulary(tokenizer, facts.tokenizer, facts.config.vocabSize)
    }
    const ids = new SequenceIds()
    const deployment = new ModelDeployment({
      card,
      version: settings.version,
      tokenizer,
      template,
      replica,
      ready,
      maxNumSeqs: engine.maxNumSeqs,
      maxQueuedSequences: admission.maxQueuedSequences,
      clock: tools.clock,
      nextSequenceId: () => ids.next(),
    })
    return { deployment, facts, plan, ready }
  } catch (error) {
    await replica.stop()
    throw error
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
  readonly plan: EnginePlan
}

interface CardParts {
  readonly weights: WeightPlan
  readonly tools: DeploymentTools
}

function makeCard(
  { names, digest, ownedBy }: DeploymentSource,
  settings: DeploymentSettings,
  { facts, plan, weights, tools }: Decided & CardParts,
): ModelCard {
  const [id = 'model', ...aliases] = names
  const modelDigest = `sha256:${digest}`
  const { maxContextTokens } = plan
  const { version, ortVersion, engine } = settings
  const { exported } = facts
  const computed =
    exported === null
      ? { activations: engine.activations, kvDtype: engine.kvDtype, kernels: tools.kernels }
      : {
          activations: exported.activations,
          kvDtype: exportedKvDtype(exported),
          kernels: `onnxruntime on ${tools.kernels}`,
          threads: engine.threads,
        }
  return Object.freeze({
    id,
    aliases: Object.freeze(aliases),
    created: Math.floor(tools.clock.wallMs() / 1000),
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
  { engine, model, packs, traceFolder }: DeploymentSettings,
  { facts, plan }: Decided,
): EngineOptions {
  const { threads, activations, kvDtype, blockSize, maxNumBatchedTokens, maxNumSeqs } = engine
  return {
    checkpointPath: path,
    weights: model.weights,
    packs: { ...packs, modelDigest: digest },
    threads,
    activations,
    kvDtype,
    kvMemoryBytes: plan.kvMemoryBytes,
    blockSize,
    maxNumBatchedTokens,
    maxNumSeqs,
    maxContextTokens: plan.maxContextTokens,
    eosTokenIds: facts.tokenizer?.endTokenIds ?? facts.config.eosTokenIds,
    scheduling: { ...engine.scheduling, swapBytes: plan.swapBytes },
    traceFolder,
  }
}
