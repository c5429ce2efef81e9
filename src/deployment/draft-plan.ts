/**
 * What a draft model adds to the plan of the model that it guesses for: its packed weights, and its KV of every token.
 * Refuses one whose tokens are not the model's. Reads headers and tokenizers only.
 */

import type { ServingError } from '../base/errors.ts'
import type { KvDtype } from '../base/kv-dtype.ts'
import { SOURCE_WEIGHTS } from '../base/weights-choice.ts'
import { firstDifference } from '../text/same-vocabulary.ts'
import type { EngineOptions } from '../worker/messages.ts'
import { deploymentError } from './errors.ts'
import { type ModelFacts, readModelFacts } from './model-facts.ts'

export interface DraftSource {
  /** Local file or folder of verified weights. */
  readonly path: string
  /** sha256 of it, hex. */
  readonly digest: string
  /** As it was asked for. */
  readonly name: string
}

export interface DraftPlan {
  readonly source: DraftSource
  readonly weightsBytes: number
  kvBytesPerToken(dtype: KvDtype): number
}

/** @throws ServingError of the checkpoint and models rooms; DEPLOYMENT_DRAFT_UNUSABLE */
export async function planDraft(
  source: DraftSource,
  target: ModelFacts,
  maxDraftTokens: number,
): Promise<DraftPlan> {
  const facts = await readModelFacts(source.path)
  checkDraft(source, facts, target)
  if (maxDraftTokens === 0)
    throw unusable(
      source,
      'no guesses are wanted (--draft-tokens 0)',
      'allow some, or leave it out',
    )
  const weightsBytes = facts.planWeights(SOURCE_WEIGHTS).packedBytes
  return { source, weightsBytes, kvBytesPerToken: (dtype) => facts.kvBytesPerToken(dtype) }
}

/** What the engine process is told of it. */
export function draftOptions(
  { source: { path, digest } }: DraftPlan,
  packs: Omit<NonNullable<EngineOptions['packs']>, 'modelDigest'>,
): NonNullable<EngineOptions['draft']> {
  return { checkpointPath: path, packs: { ...packs, modelDigest: digest } }
}

function unusable({ name }: DraftSource, reason: string, next: string): ServingError {
  const details = { draft: name, reason, next }
  return deploymentError('DEPLOYMENT_DRAFT_UNUSABLE', { param: '--draft-model', details })
}

export type DraftFacts = Pick<ModelFacts, 'config' | 'exported' | 'tokenizer'>

/** @throws ServingError DEPLOYMENT_DRAFT_UNUSABLE */
export function checkDraft(source: DraftSource, draft: DraftFacts, target: DraftFacts): void {
  const refuse = (reason: string, next: string) => unusable(source, reason, next)
  const family = 'use a smaller model of the same family, or leave --draft-model out'
  if (target.exported !== null)
    throw refuse('the model is an exported graph, which takes no guesses', 'leave it out')
  if (draft.exported !== null)
    throw refuse('it is an exported graph', 'use the checkpoint that it was exported from')
  const [wanted, got] = [target.config.vocabSize, draft.config.vocabSize]
  if (got !== wanted)
    throw refuse(`it has ${got} tokens in its vocabulary and the model has ${wanted}`, family)
  if (draft.tokenizer === null || target.tokenizer === null) return
  const difference = firstDifference(target.tokenizer, draft.tokenizer)
  if (difference === null) return
  const { id, first, second } = difference
  const words = `token ${id} is ${JSON.stringify(second)} there and ${JSON.stringify(first)} in the model`
  throw refuse(words, family)
}
