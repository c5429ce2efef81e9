/**
 * One endpoint: its declaration, its variants, and what is told of both. Owns the variants. Does not know names of other
 * endpoints or aliases.
 *
 * E1 `STOPPED` refuses every request and keeps no process.
 */

import { randomUUID } from 'node:crypto'
import type { EngineDescription } from '../../worker/messages.ts'
import type { ModelCard, ReplicaHealth } from '../deployments.ts'
import { deploymentError } from '../errors.ts'
import { EndpointScaling } from './endpoint-scaling.ts'
import type { EndpointSpec, VariantSpec } from './endpoint-spec.ts'
import type { EndpointState, EndpointStatus } from './endpoints-admin.ts'
import type { EndpointFacts, VariantFacts } from './facts.ts'
import type { LoadQueue } from './load-queue.ts'
import { totalBytes } from './memory-budget.ts'
import type { EndpointCondition } from './pool-health.ts'
import type { PoolTools, PreparedVariant } from './pool-tools.ts'
import { quantizationWord } from './quantization-word.ts'
import { ServedVariant } from './served-variant.ts'
import type { VariantPolicy } from './variant-options.ts'

export interface EndpointOptions {
  readonly spec: EndpointSpec
  readonly tools: PoolTools
  readonly queue: LoadQueue
  /** The endpoint of this name whose place it takes; its id stays. */
  readonly successorOf?: Pick<Endpoint, 'id' | 'createdAt'>
  /** Plans that were made when the declaration was checked, by variant. */
  readonly plans: ReadonlyMap<string, PreparedVariant>
  onChange(): void
  onReady(endpoint: Endpoint, description: EngineDescription): void
  onFailed(endpoint: Endpoint, error: Error): void
}

export class Endpoint {
  readonly id: string
  readonly createdAt: number
  readonly variants: ReadonlyMap<string, ServedVariant>
  readonly #options: EndpointOptions
  readonly #scaling: EndpointScaling | null
  #spec: EndpointSpec
  /** Why the variant that serves was chosen. */
  readonly #choices = new Map<string, string>()

  constructor(options: EndpointOptions) {
    this.#options = options
    this.#spec = options.spec
    const { id, createdAt } = options.successorOf ?? {}
    this.id = id ?? `endpoint-${randomUUID()}`
    this.createdAt = createdAt ?? Math.floor(options.tools.clock.wallMs() / 1000)
    this.variants = new Map(
      options.spec.variants.map((variant) => [variant.name, this.#serve(variant)]),
    )
    const { clock, timer } = options.tools
    this.#scaling =
      options.spec.mode === 'serverless'
        ? null
        : new EndpointScaling({
            ...{ clock, timer },
            autoscaling: () => this.#spec.autoscaling,
            variants: () => this.variants.values(),
          })
  }

  get name(): string {
    return this.#spec.name
  }

  get spec(): EndpointSpec {
    return this.#spec
  }

  get isStopped(): boolean {
    return this.#spec.state === 'STOPPED'
  }

  /** Of the variant that serves, else of the first that is planned; `null` while none is. */
  get card(): ModelCard | null {
    return (this.current ?? this.#planned[0])?.prepared?.card ?? null
  }

  /** The variant that is loaded, or loading. */
  get current(): ServedVariant | null {
    const all = [...this.variants.values()]
    const isActive = ({ phase }: ServedVariant): boolean =>
      phase === 'loading' || phase === 'draining'
    return all.find(({ phase }) => phase === 'ready') ?? all.find(isActive) ?? null
  }

  /** Make the plans, and start what is kept running. */
  start(): void {
    if (this.isStopped) return
    for (const variant of this.variants.values()) variant.prepare()
    const [first] = this.variants.values()
    const { minReplicas } = this.#policyOf(this.#spec.variants[0])
    if (minReplicas > 0) first?.setTarget(minReplicas)
  }

  /** Refuse whoever waits, let the open requests end, end the processes. */
  async stop(): Promise<void> {
    const all = [...this.variants.values()]
    for (const variant of all) variant.refuse(() => this.#stoppedError())
    await Promise.all(all.map((variant) => variant.drain('it is being stopped')))
  }

  async close(graceMs: number): Promise<void> {
    this.#scaling?.stop()
    await Promise.all([...this.variants.values()].map((variant) => variant.close(graceMs)))
  }

  /** Settings that a running variant can follow. */
  setSpec(spec: EndpointSpec): void {
    this.#spec = spec
    for (const variant of this.variants.values()) variant.policyChanged()
  }

  /** That this variant was chosen, and why. */
  noteChoice(variant: string, reason: string): void {
    this.#choices.set(variant, reason)
  }

  facts(): EndpointFacts {
    const { name, region, retention } = this.#spec
    const all = [...this.variants.values()]
    const alive = all.filter(({ phase }) => phase !== 'failed')
    const variants = (alive.length === 0 ? all : alive).map(variantFacts)
    return { name, region, retention, variants, unavailable: this.#unavailable(alive.length > 0) }
  }

  status(): EndpointStatus {
    const all = [...this.variants.values()]
    const { current } = this
    const idle = all.flatMap(({ idleMs }) => idleMs ?? [])
    const reason = this.#choices.get(current?.spec.name ?? '') ?? 'declared first'
    return {
      id: this.id,
      spec: this.#spec,
      ...this.#state(),
      replicas: this.health(),
      variant: current === null ? null : { name: current.spec.name, reason },
      reservedBytes: all.reduce((sum, { bytes }) => sum + bytes, 0),
      loadMs: (current ?? all[0])?.loadMs ?? null,
      idleMs: idle.length === 0 ? null : Math.min(...idle),
      createdAt: this.createdAt,
      numOpenRequests: all.reduce((sum, { numOpen, numWaiting }) => sum + numOpen + numWaiting, 0),
    }
  }

  /** Of its processes, as they last said. */
  get residentBytes(): number {
    const all = [...this.variants.values()].flatMap(({ replicas }) => replicas.statuses())
    return all.reduce((sum, { stats }) => sum + (stats?.rssBytes ?? 0), 0)
  }

  condition(): EndpointCondition {
    const { state } = this.#state()
    const [first] = this.variants.values()
    const { minReplicas } = this.#policyOf(this.#spec.variants[0])
    const isKept = minReplicas > 0 && (first?.target ?? 0) > 0
    return {
      isServing: state === 'STARTED',
      isStarting: state === 'STARTING' || state === 'PENDING',
      isFailed: state === 'ERROR',
      isShort: isKept && (first?.replicas.numReady ?? 0) < minReplicas,
    }
  }

  health(): readonly ReplicaHealth[] {
    const replicas = [...this.variants.values()].flatMap(({ replicas }) => replicas.health())
    return replicas.map((replica) => ({ ...replica, modelId: this.name }))
  }

  get #planned(): readonly ServedVariant[] {
    return [...this.variants.values()].filter(({ prepared }) => prepared !== null)
  }

  #serve(spec: VariantSpec): ServedVariant {
    const { tools, queue } = this.#options
    return new ServedVariant({
      ...{ modelId: this.#spec.name, spec, tools, queue },
      policy: () => this.#policyOf(spec),
      prepared: this.#options.plans.get(spec.name) ?? null,
      plan: (options) => tools.plan(this.#spec, spec, options),
      onChange: () => this.#options.onChange(),
      onReady: (description) => this.#options.onReady(this, description),
      onFailed: (error) => this.#options.onFailed(this, error),
    })
  }

  #policyOf(variant: VariantSpec | undefined): VariantPolicy {
    const { mode, isPinned, inactiveTimeoutMs, cpuSets, autoscaling } = this.#spec
    const isKept = !this.isStopped && variant?.name === this.#spec.variants[0]?.name
    const kept = mode === 'dedicated' ? autoscaling.minReplicas : isPinned ? 1 : 0
    const mayLeave = mode === 'serverless' && !isPinned
    return { minReplicas: isKept ? kept : 0, inactiveTimeoutMs, mayLeave, cpuSets }
  }

  #state(): { readonly state: EndpointState; readonly reason: string | null } {
    const all = [...this.variants.values()]
    if (this.isStopped) {
      const isEmpty = all.every(({ replicas }) => replicas.size === 0)
      return { state: isEmpty ? 'STOPPED' : 'STOPPING', reason: 'it was stopped' }
    }
    const told = all.find(({ reason }) => reason !== null)?.reason ?? null
    const phases = new Set(all.map(({ phase }) => phase))
    if (phases.has('ready')) return { state: 'STARTED', reason: null }
    const { minReplicas } = this.#policyOf(this.#spec.variants[0])
    const isOnlyPlanned = ['cold', 'draining'].some((phase) => phases.has(phase as 'cold'))
    if (minReplicas === 0 && (isOnlyPlanned || phases.has('loading'))) {
      return { state: 'STARTED', reason: null }
    }
    if (phases.has('loading')) return { state: 'STARTING', reason: told }
    if (isOnlyPlanned) return { state: 'STARTED', reason: null }
    return { state: phases.has('failed') ? 'ERROR' : 'PENDING', reason: told }
  }

  #unavailable(isAlive: boolean): EndpointFacts['unavailable'] {
    if (this.isStopped) return { reason: 'it is stopped', retryAfterSeconds: null }
    if (isAlive) return null
    const all = [...this.variants.values()]
    if (all.some(({ isInBackoff }) => !isInBackoff)) return null
    const [first] = all
    const reason = `it could not be loaded: ${first?.reason ?? 'no reason is known'}`
    const waits = all.map((variant) => variant.retryAfterSeconds())
    return { reason, retryAfterSeconds: Math.min(...waits) }
  }

  #stoppedError() {
    const details = { model: this.name, reason: 'it was stopped' }
    return deploymentError('DEPLOYMENT_STOPPED', { details })
  }
}

function variantFacts({ spec, prepared, phase, tokensPerSecond }: ServedVariant): VariantFacts {
  return {
    name: spec.name,
    quantization: prepared?.quantization ?? quantizationWord(spec.weights.format, ''),
    isPinned: spec.digest !== null,
    // One that loads already is not left for another that would load too.
    isLoaded: phase === 'ready' || phase === 'loading',
    totalBytes: prepared === null ? 0 : totalBytes(prepared.size),
    qualityKl: spec.qualityKl,
    tokensPerSecond,
  }
}
