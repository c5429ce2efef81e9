/**
 * `Deployments` over many endpoints that share one machine's memory. Owns the endpoints, the budget and the line of loads;
 * changes what is declared only as a whole. Administration for callers is `pool-admin.ts`.
 *
 * P1 reserved ≤ budget (`memory-budget.ts`).
 * P3 every request ends once, with its answer or a typed error (`endpoint-run.ts`).
 * P5 no process is left once `close` has resolved.
 * P6 the declaration changes in one turn of the event loop, after everything that could refuse it has been asked.
 */

import { formatBytes } from '../../config/option.ts'
import type { EngineDescription } from '../../worker/messages.ts'
import { adapterCard } from '../adapters/adapter-card.ts'
import { splitAdapterName } from '../adapters/adapters.ts'
import type { Deployments, HealthReport, ModelCard } from '../deployments.ts'
import { deploymentError } from '../errors.ts'
import type { GenerationEvent, GenerationRequest } from '../generation.ts'
import type { TextTools } from '../text-tools.ts'
import { Endpoint } from './endpoint.ts'
import { EndpointRun } from './endpoint-run.ts'
import type { EndpointCatalog, EndpointSpec } from './endpoint-spec.ts'
import type { EndpointFacts } from './facts.ts'
import { LoadQueue, type Resident } from './load-queue.ts'
import {
  arithmetic,
  type BudgetLimit,
  leastBytes,
  MemoryBudget,
  totalBytes,
} from './memory-budget.ts'
import { healthReport } from './pool-health.ts'
import { PoolRollouts } from './pool-rollouts.ts'
import type { PoolTools, PreparedVariant } from './pool-tools.ts'
import { resolveAlias } from './resolve-alias.ts'
import { runCandidate } from './run-candidate.ts'
import { changeKind, endpointChanges } from './spec-change.ts'

export interface PoolOptions {
  readonly catalog: EndpointCatalog
  readonly tools: PoolTools
  /** What the catalog's `memoryBudgetBytes` means on this machine. */
  budgetOf(configuredBytes: number | null): BudgetLimit
  /** One model that was named on the command line: an automatic budget grows for it, and answers tell no endpoint. */
  readonly isSingle: boolean
  onReady?(endpoint: string, description: EngineDescription): void
  onFailed?(endpoint: string, error: Error): void
  /** A new revision was taken back, and the one before serves on. */
  onTakenBack?(endpoint: string, reason: string): void
}

/** By endpoint and variant. */
export type CatalogPlans = ReadonlyMap<string, ReadonlyMap<string, PreparedVariant>>

/** How long a load waits for models in use before they are asked to end. */
const PATIENCE_MS = 5_000
/** What a removed or replaced endpoint's open requests get. */
const FAREWELL_MS = 600_000

export class EndpointPool implements Deployments {
  readonly budget: MemoryBudget
  readonly queue: LoadQueue
  readonly tools: PoolTools
  /** New revisions beside those that serve. */
  readonly rollouts: PoolRollouts
  readonly #options: PoolOptions
  #catalog: EndpointCatalog
  readonly #endpoints = new Map<string, Endpoint>()
  /** Removed or replaced ones that still end. */
  readonly #leaving = new Map<Endpoint, Promise<void>>()
  #isClosed = false

  constructor(options: PoolOptions) {
    const { catalog, tools, budgetOf } = options
    this.#options = options
    this.#catalog = { ...catalog, endpoints: [], aliases: [] }
    this.tools = {
      ...tools,
      plan: async (...args) => this.#checked(await tools.plan(...args)),
      createReplica: (request) =>
        tools.adapters.replica(request, (one) => tools.createReplica(one)),
    }
    this.budget = new MemoryBudget(budgetOf(catalog.memoryBudgetBytes), () => this.queue.place())
    const { clock, timer } = tools
    this.rollouts = new PoolRollouts({ clock, timer })
    this.queue = new LoadQueue(
      {
        ...{ budget: this.budget, clock, timer, patienceMs: PATIENCE_MS },
        residents: () => this.#residents(),
      },
      catalog.maxConcurrentLoads,
    )
    this.apply(catalog)
  }

  get catalog(): EndpointCatalog {
    return this.#catalog
  }

  get endpoints(): ReadonlyMap<string, Endpoint> {
    return this.#endpoints
  }

  /**
   * Declare this from now on: what is equal is not touched. Everything was checked before; nothing in here fails (P6).
   *
   * Replaced and removed endpoints end with their open requests.
   *
   * @param plans - those that were made for the check
   */
  apply(catalog: EndpointCatalog, plans: CatalogPlans = new Map()): void {
    const changes = endpointChanges(this.#catalog.endpoints, catalog.endpoints)
    this.#catalog = catalog
    this.budget.setLimit(this.#options.budgetOf(catalog.memoryBudgetBytes))
    for (const { name, after } of changes) {
      const old = this.#endpoints.get(name)
      // What is declared now makes one that runs pointless.
      const candidate = this.rollouts.stop(name)
      if (candidate !== null) this.#retire(candidate)
      if (old !== undefined && after !== null) {
        // What serves may be older than what was declared, where a revision was taken back.
        if (changeKind(old.spec, after) !== 'revision') {
          this.#setPolicy(old, after)
          continue
        }
        if (this.#canRollOut(old, after, plans.get(name))) {
          this.#rollOut(old, after, plans.get(name) ?? new Map())
          continue
        }
      }
      if (old !== undefined) this.#retire(old)
      if (after === null) continue
      const endpoint = this.#make(after, plans.get(name) ?? new Map(), old)
      this.#endpoints.set(name, endpoint)
      endpoint.start()
    }
    this.#inOrder(catalog.endpoints)
    this.queue.setMaxConcurrentLoads(catalog.maxConcurrentLoads)
  }

  /** @throws ServingError DEPLOYMENT_NEVER_FITS with the arithmetic */
  assertFits(model: string, { size }: PreparedVariant): void {
    if (this.#mayGrow) return
    const { bytes, reason } = this.budget.limit
    if (leastBytes(size) <= bytes) return
    const limit = `the memory budget is ${formatBytes(bytes)} (${reason})`
    const details = { model, arithmetic: arithmetic(size), limit }
    throw deploymentError('DEPLOYMENT_NEVER_FITS', { details })
  }

  list(): readonly ModelCard[] {
    return [...this.#endpoints.values()].flatMap((endpoint) => {
      const { card } = endpoint
      if (card === null) return []
      const base = this.#named(card)
      const adapters = this.tools.adapters.of(card.id).list()
      return [base, ...adapters.map((adapter) => adapterCard(base, adapter))]
    })
  }

  find(name: string): ModelCard | undefined {
    const endpoint = this.#endpointOf(name)
    if (endpoint === undefined) return this.#findAdapter(name)
    const { card } = endpoint
    if (card !== null) return this.#named(card)
    const { unavailable } = endpoint.facts()
    if (unavailable !== null && unavailable.retryAfterSeconds === null) {
      const details = { model: name, reason: unavailable.reason }
      throw deploymentError('DEPLOYMENT_STOPPED', { details })
    }
    const [first] = endpoint.variants.values()
    if (first === undefined) return undefined
    first.prepare()
    throw first.refusal()
  }

  generate(request: GenerationRequest, signal: AbortSignal): AsyncIterable<GenerationEvent> {
    const { timer } = this.tools
    const named = this.#adapterIn(request.requestedModel)
    const own =
      named === null ? request : { ...request, requestedModel: named.base, adapter: named.adapter }
    const candidates = () => this.#candidates(own)
    return new EndpointRun({ request: own, signal, timer, candidates })
  }

  tokenText(modelId: string, tokenId: number): string {
    return this.#textTools(modelId).tokenizer.tokenText(tokenId)
  }

  decode(modelId: string, tokenIds: readonly number[]): string {
    const { tokenizer } = this.#textTools(modelId)
    return tokenizer.decode(Int32Array.from(tokenIds), { skipSpecialTokens: true })
  }

  health(): HealthReport {
    return healthReport([...this.#endpoints.values()])
  }

  /** What unloading idle models would give, bytes. */
  get reclaimableBytes(): number {
    const idle = [...this.#residents()].filter(({ isIdle, isLeaving }) => isIdle && !isLeaving)
    return idle.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /** Take nothing new, let open requests end within the time, then end every process. Idempotent. */
  async close(graceMs: number): Promise<void> {
    this.#isClosed = true
    const all = this.#all()
    for (const name of this.#endpoints.keys()) this.rollouts.stop(name)
    await Promise.all(all.map((endpoint) => endpoint.close(graceMs)))
    await Promise.all(this.#leaving.values())
  }

  #make(
    spec: EndpointSpec,
    plans: ReadonlyMap<string, PreparedVariant>,
    successorOf: Endpoint | undefined,
  ): Endpoint {
    const { onReady, onFailed } = this.#options
    return new Endpoint({
      ...{ spec, plans, tools: this.tools, queue: this.queue },
      ...(successorOf === undefined ? {} : { successorOf: identityOf(successorOf) }),
      onChange: () => {},
      onReady: ({ name }, description) => onReady?.(name, description),
      onFailed: ({ name }, error) => onFailed?.(name, error),
    })
  }

  #setPolicy(endpoint: Endpoint, after: EndpointSpec): void {
    const before = endpoint.spec
    endpoint.setSpec(after)
    if (before.state === after.state) return
    if (after.state === 'STARTED') endpoint.start()
    else void endpoint.stop()
  }

  /** Beside each other they need memory for both; what is cold or stopped has nothing to compare with. */
  #canRollOut(
    old: Endpoint,
    after: EndpointSpec,
    plans: ReadonlyMap<string, PreparedVariant> | undefined,
  ): boolean {
    const rollout = after.rollout ?? null
    if (rollout === null || after.state === 'STOPPED' || old.current?.phase !== 'ready')
      return false
    const plan = plans?.get(after.variants[0]?.name ?? '')
    const room = this.budget.freeBytes + this.reclaimableBytes
    return plan === undefined || leastBytes(plan.size) <= room
  }

  #rollOut(
    stable: Endpoint,
    after: EndpointSpec,
    plans: ReadonlyMap<string, PreparedVariant>,
  ): void {
    const candidate = this.#make(after, plans, stable)
    this.rollouts.begin(stable, candidate, (reason) => {
      this.#retire(reason === null ? stable : candidate)
      if (reason === null) this.#endpoints.set(after.name, candidate)
      else this.#options.onTakenBack?.(after.name, reason)
      this.#inOrder(this.#catalog.endpoints)
    })
  }

  #retire(endpoint: Endpoint): void {
    if (this.#endpoints.get(endpoint.name) === endpoint) this.#endpoints.delete(endpoint.name)
    const ended = endpoint.close(FAREWELL_MS).finally(() => this.#leaving.delete(endpoint))
    this.#leaving.set(endpoint, ended)
  }

  /** The order of declaration is the order of listings. */
  #inOrder(specs: readonly EndpointSpec[]): void {
    for (const { name } of specs) {
      const endpoint = this.#endpoints.get(name)
      if (endpoint === undefined) continue
      this.#endpoints.delete(name)
      this.#endpoints.set(name, endpoint)
    }
  }

  /** One model that was named on the command line is served, whatever an automatic budget says. */
  get #mayGrow(): boolean {
    return this.#options.isSingle && this.#catalog.memoryBudgetBytes === null
  }

  #checked(prepared: PreparedVariant): PreparedVariant {
    this.assertFits(prepared.card.id, prepared)
    const { bytes } = this.budget.limit
    const needed = this.budget.reservedBytes + totalBytes(prepared.size)
    if (this.#mayGrow && needed > bytes) {
      this.budget.setLimit({ bytes: needed, reason: 'what the one model takes' })
    }
    return prepared
  }

  #all(): readonly Endpoint[] {
    const serving = this.#endpoints.values()
    return [...serving, ...this.rollouts.candidates, ...this.#leaving.keys()]
  }

  *#residents(): Iterable<Resident> {
    for (const endpoint of this.#all()) {
      for (const variant of endpoint.variants.values()) if (variant.isResident) yield variant
    }
  }

  #candidates(request: GenerationRequest) {
    const endpoints = new Map<string, EndpointFacts>()
    for (const [name, endpoint] of this.#endpoints) endpoints.set(name, endpoint.facts())
    const aliases = new Map(this.#catalog.aliases.map((alias) => [alias.name, alias]))
    if (this.#isClosed) {
      const reason = 'the server is shutting down'
      const details = { model: request.requestedModel, reason }
      throw deploymentError('DEPLOYMENT_DRAINING', { details })
    }
    const isTold = !this.#options.isSingle || request.routing !== null
    const view = { endpoints, aliases }
    const all = resolveAlias(request.requestedModel, request.routing, view)
    return this.#holding(all, request).map((candidate) => (passedOver: readonly string[]) => {
      const named = this.#endpoints.get(candidate.endpoint)
      const nobody = { endpoint: named, observe: undefined }
      const chosen = named === undefined ? nobody : this.rollouts.choose(named, request, candidate)
      const told = { candidate, request, passedOver, isTold }
      return runCandidate({ memory: this, ...chosen, ...told })
    })
  }

  /** `base:adapter`, unless an endpoint or alias has that very name. */
  #adapterIn(name: string) {
    if (this.#endpointOf(name) !== undefined) return null
    const parts = splitAdapterName(name)
    return parts === null || this.#endpointOf(parts.base) === undefined ? null : parts
  }

  /** Of an alias: on the first of its targets that holds the adapter. */
  #findAdapter(name: string): ModelCard | undefined {
    const parts = this.#adapterIn(name)
    const base = parts === null ? undefined : this.find(parts.base)
    if (parts === null || base === undefined) return undefined
    const { adapters } = this.tools
    for (const { card } of this.#endpointsOf(parts.base)) {
      const adapter = card === null ? undefined : adapters.of(card.id).find(parts.adapter)
      if (card !== null && adapter !== undefined) return adapterCard(this.#named(card), adapter)
    }
    throw adapters.of(base.id).unknown(parts.adapter)
  }

  /** Candidates that hold the adapter that was asked for. */
  #holding<T extends { readonly endpoint: string }>(
    all: readonly T[],
    { adapter, requestedModel }: GenerationRequest,
  ): readonly T[] {
    if (adapter === undefined) return all
    const { adapters } = this.tools
    const holding = all.filter(({ endpoint }) => adapters.of(endpoint).find(adapter) !== undefined)
    if (holding.length > 0) return holding
    throw adapters.of(all[0]?.endpoint ?? requestedModel).unknown(adapter)
  }

  /** An alias's card is its first target's. */
  #endpointOf(name: string): Endpoint | undefined {
    const found = this.#endpointsOf(name)
    return found.find(({ card, isStopped }) => card !== null && !isStopped) ?? found[0]
  }

  /** By its own name, or the targets of an alias in their order. */
  #endpointsOf(name: string, depth = 0): readonly Endpoint[] {
    const own = this.#endpoints.get(name)
    if (own !== undefined) return [own]
    const alias = this.#catalog.aliases.find((one) => one.name === name)
    if (alias === undefined || depth > this.#catalog.aliases.length) return []
    return alias.targets.flatMap((target) => this.#endpointsOf(target, depth + 1))
  }

  #named(card: ModelCard): ModelCard {
    const aliases = this.#catalog.aliases.filter(({ targets }) => targets[0] === card.id)
    if (aliases.length === 0) return card
    return { ...card, aliases: aliases.map(({ name }) => name) }
  }

  #textTools(modelId: string): TextTools {
    const base = this.#adapterIn(modelId)?.base ?? modelId
    const endpoint = this.#endpointOf(base)
    const variants = [...(endpoint?.variants.values() ?? [])]
    const prepared = variants.flatMap((variant) => variant.prepared ?? [])[0]
    if (prepared !== undefined) return prepared.textTools()
    const served = [...this.#endpoints.keys()].join(', ')
    const details = { model: modelId, served }
    throw deploymentError('DEPLOYMENT_UNKNOWN_MODEL', { param: 'model', details })
  }
}

/** Not the endpoint itself: each would keep the one before it, with its plans, for ever. */
function identityOf({ id, createdAt }: Endpoint): Pick<Endpoint, 'id' | 'createdAt'> {
  return { id, createdAt }
}
