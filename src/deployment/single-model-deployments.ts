/**
 * `Deployments` for a server of one model: its id and its aliases mean the same deployment. Owns the map of names.
 */

import type {
  Deployments,
  HealthReport,
  HealthStatus,
  ModelCard,
  ReplicaState,
} from './deployments.ts'
import { deploymentError } from './errors.ts'
import type { GenerationEvent, GenerationRequest } from './generation.ts'
import type { ModelDeployment } from './model-deployment.ts'

/** With one replica asked for there is no state between all and nothing. */
const STATUS: Readonly<Record<ReplicaState, HealthStatus>> = {
  ready: 'ok',
  starting: 'starting',
  restarting: 'starting',
  failed: 'down',
  stopped: 'down',
}

export class SingleModelDeployments implements Deployments {
  readonly #deployment: ModelDeployment
  readonly #cards: readonly ModelCard[]
  readonly #names: ReadonlySet<string>

  constructor(deployment: ModelDeployment) {
    this.#deployment = deployment
    this.#cards = Object.freeze([deployment.card])
    this.#names = new Set([deployment.card.id, ...deployment.card.aliases])
  }

  list(): readonly ModelCard[] {
    return this.#cards
  }

  find(name: string): ModelCard | undefined {
    return this.#names.has(name) ? this.#deployment.card : undefined
  }

  generate(request: GenerationRequest, signal: AbortSignal): AsyncIterable<GenerationEvent> {
    return this.#named(request.requestedModel).generate(request, signal)
  }

  tokenText(modelId: string, tokenId: number): string {
    return this.#named(modelId).tokenText(tokenId)
  }

  decode(modelId: string, tokenIds: readonly number[]): string {
    return this.#named(modelId).decode(tokenIds)
  }

  health(): HealthReport {
    const replica = this.#deployment.health()
    return { status: STATUS[replica.state], replicas: [replica] }
  }

  /** @throws ServingError DEPLOYMENT_UNKNOWN_MODEL */
  #named(name: string): ModelDeployment {
    if (this.#names.has(name)) return this.#deployment
    const served = [...this.#names].join(', ')
    throw deploymentError('DEPLOYMENT_UNKNOWN_MODEL', {
      param: 'model',
      details: { model: name, served },
    })
  }
}
