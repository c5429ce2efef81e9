/** The text tools, admission and routing of a variant over its replicas. Owns nothing. */

import { ModelDeployment, type ModelDeploymentOptions } from '../model-deployment.ts'
import type { PreparedVariant } from './pool-tools.ts'
import type { ReplicaSet } from './replica-set.ts'
import type { VariantOptions } from './variant-options.ts'

type Events = Pick<ModelDeploymentOptions, 'retryAfterSeconds' | 'onIdle' | 'onAnswered'>

/** @throws ServingError of the text room. Cost: waits for the tokenizer, unless it was made before. */
export function variantDeployment(
  { modelId, tools }: Pick<VariantOptions, 'modelId' | 'tools'>,
  prepared: PreparedVariant,
  replicas: ReplicaSet,
  events: Events,
): ModelDeployment {
  const { clock, version, adapters } = tools
  const { card, maxNumSeqs, maxQueuedSequences } = prepared
  return new ModelDeployment({
    ...{ card, version, maxNumSeqs, maxQueuedSequences, clock },
    ...prepared.textTools(),
    ...{ replicas, adapters: adapters.of(modelId) },
    nextSequenceId: () => tools.nextSequenceId(),
    ...events,
  })
}
