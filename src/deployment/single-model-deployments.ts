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
    const deployment = this.#named(request.requestedModel)
    if (request.routing !== null) this.#refuse(request.requestedModel)
    return deployment.generate(request, signal)
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

  /** A model served without an endpoint has no facts to hold against a constraint. */
  #refuse(model: string): never {
    const reason = 'this server was started with one model and declares no endpoints'
    const details = { model, param: 'provider', reason }
    throw deploymentError('REQUEST_ROUTING_UNMET', { param: 'provider', details })
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
