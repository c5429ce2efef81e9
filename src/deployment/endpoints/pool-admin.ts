/**
 * Administration of an endpoint pool: checks a change wholly, writes it to the history, applies it. Owns the order of
 * changes: one at a time. Does not know HTTP.
 *
 * P6 until a change has passed every check nothing is touched; what was declared before serves on when it is refused.
 * I2 a change is in the history before it is applied.
 */

import { deploymentError } from '../errors.ts'
import type { CatalogHistory, NewChange } from './catalog-history.ts'
import type { Endpoint } from './endpoint.ts'
import type { CatalogPlans, EndpointPool } from './endpoint-pool.ts'
import type { AliasSpec, EndpointCatalog, EndpointSpec } from './endpoint-spec.ts'
import type {
  CatalogChange,
  EndpointStatus,
  EndpointsAdmin,
  PoolStatus,
  VariantProfile,
} from './endpoints-admin.ts'
import type { PreparedVariant } from './pool-tools.ts'
import type { RestoredCatalog } from './restore-catalog.ts'
import type { ServedVariant } from './served-variant.ts'
import { changeKind, endpointChanges, withEndpoint } from './spec-change.ts'

export interface PoolAdminOptions {
  readonly pool: EndpointPool
  readonly history: CatalogHistory
  /** @throws ServingError when a declaration contradicts itself */
  check(catalog: EndpointCatalog): void
  /** The configuration file read again; `null` = there is none with endpoints. @throws ServingError of the configuration */
  readCatalog: (() => EndpointCatalog) | null
  profile(pool: EndpointPool, source: string): Promise<readonly VariantProfile[]>
}

/** A load that an administrator asked for may queue behind others. */
const LOAD_WAIT_MS = 3_600_000
const MAX_SHOWN = 10

export class PoolAdmin implements EndpointsAdmin {
  readonly #options: PoolAdminOptions
  /** Names that the configuration file declares; a reload changes only those. */
  #fromFile: ReadonlySet<string>
  #last: Promise<unknown> = Promise.resolve()

  constructor(options: PoolAdminOptions) {
    this.#options = options
    this.#fromFile = namesOf(options.pool.catalog)
  }

  /**
   * Declare what a server starts with. What was created over the API and cannot be served now comes back all the same, to
   * say why in its state: the rest must not wait for it.
   *
   * @param restored - of the configuration file and the history
   * @throws ServingError as for any other change, of what the file declares
   */
  begin({ before, after }: RestoredCatalog, file: EndpointCatalog, who: string): Promise<void> {
    return this.#inTurn(async () => {
      const fromFile = new Set([...namesOf(before), ...namesOf(file)])
      this.#fromFile = namesOf(file)
      const { endpoints } = after
      const created = endpoints.map(({ name }) => name).filter((name) => !this.#fromFile.has(name))
      await this.#change(after, who, { before, fromFile, mayFail: new Set(created) })
    })
  }

  status(): PoolStatus {
    const { budget, queue } = this.#pool
    const endpoints = [...this.#pool.endpoints.values()]
    const { bytes, reason } = budget.limit
    return {
      budgetBytes: bytes,
      budgetReason: reason,
      reservedBytes: budget.reservedBytes,
      residentBytes: endpoints.reduce((sum, endpoint) => sum + endpoint.residentBytes, 0),
      numLoading: queue.numLoading,
      endpoints: endpoints.map((endpoint) => this.#statusOf(endpoint)),
    }
  }

  get(idOrName: string): EndpointStatus {
    return this.#statusOf(this.#endpoint(idOrName))
  }

  create(spec: EndpointSpec, who: string): Promise<EndpointStatus> {
    return this.#inTurn(async () => {
      const { catalog } = this.#pool
      this.#assertFree(spec.name)
      await this.#change(withEndpoint(catalog, spec.name, spec), who)
      return this.get(spec.name)
    })
  }

  update(
    idOrName: string,
    patch: Partial<Omit<EndpointSpec, 'name' | 'mode'>>,
    who: string,
  ): Promise<EndpointStatus> {
    return this.#inTurn(async () => {
      const { spec } = this.get(idOrName)
      const after = { ...spec, ...patch }
      await this.#change(withEndpoint(this.#pool.catalog, spec.name, after), who)
      return this.get(spec.name)
    })
  }

  remove(idOrName: string, who: string): Promise<void> {
    return this.#inTurn(async () => {
      const { name } = this.#endpoint(idOrName)
      await this.#change(withEndpoint(this.#pool.catalog, name, null), who)
    })
  }

  async load(idOrName: string, variantName?: string): Promise<EndpointStatus> {
    const endpoint = this.#endpoint(idOrName)
    const { name } = endpoint
    if (endpoint.isStopped) {
      const details = { model: name, reason: 'it is stopped' }
      throw deploymentError('DEPLOYMENT_STOPPED', { details })
    }
    const variant = this.#variant(endpoint, variantName)
    endpoint.noteChoice(variant.spec.name, 'loaded by an administrator')
    const lease = await variant.acquire(LOAD_WAIT_MS, new AbortController().signal)
    lease.release()
    return this.get(name)
  }

  async unload(idOrName: string): Promise<EndpointStatus> {
    const endpoint = this.#endpoint(idOrName)
    const { name, spec } = endpoint
    if (spec.isPinned) {
      throw deploymentError('DEPLOYMENT_PINNED', { details: { name, reason: 'it is pinned' } })
    }
    const all = [...endpoint.variants.values()]
    await Promise.all(all.map((variant) => variant.drain('it was unloaded')))
    return this.#statusOf(endpoint)
  }

  profiles(idOrNameOrSource: string): Promise<readonly VariantProfile[]> {
    return this.#options.profile(this.#pool, idOrNameOrSource)
  }

  aliases(): readonly AliasSpec[] {
    return this.#pool.catalog.aliases
  }

  setAlias(name: string, alias: AliasSpec | null, who: string): Promise<void> {
    return this.#inTurn(async () => {
      const { catalog } = this.#pool
      if (this.#pool.endpoints.has(name)) this.#assertFree(name)
      const rest = catalog.aliases.filter((one) => one.name !== name)
      const aliases = alias === null ? rest : [...rest, alias]
      await this.#change({ ...catalog, aliases }, who)
    })
  }

  history(name?: string): Promise<readonly CatalogChange[]> {
    return this.#options.history.list(name)
  }

  reload(who: string): Promise<{ readonly changes: readonly CatalogChange[] }> {
    const { readCatalog } = this.#options
    if (readCatalog === null) return Promise.reject(deploymentError('DEPLOYMENT_NOTHING_TO_RELOAD'))
    return this.#inTurn(async () => {
      const { catalog } = this.#pool
      const read = readCatalog()
      const isOwn = ({ name }: { readonly name: string }): boolean => !this.#fromFile.has(name)
      const added = catalog.endpoints.filter(isOwn)
      const addedAliases = catalog.aliases.filter(isOwn)
      for (const { name } of [...added, ...addedAliases]) {
        if (!namesOf(read).has(name)) continue
        const by = 'what was created over the API'
        throw deploymentError('DEPLOYMENT_NAME_TAKEN', { details: { name, by } })
      }
      const after = {
        ...read,
        endpoints: [...read.endpoints, ...added],
        aliases: [...read.aliases, ...addedAliases],
      }
      const fromFile = new Set([...this.#fromFile, ...namesOf(read)])
      const changes = await this.#change(after, who, { before: catalog, fromFile })
      this.#fromFile = namesOf(read)
      return { changes }
    })
  }

  /** As declared: while a new revision is rolled out, or was taken back, another one serves. */
  #statusOf(endpoint: Endpoint): EndpointStatus {
    const { catalog, rollouts } = this.#pool
    const status = endpoint.status()
    const spec = catalog.endpoints.find(({ name }) => name === endpoint.name) ?? status.spec
    const rollout = rollouts.words(endpoint.name)
    return { ...status, spec, ...(rollout === null ? {} : { rollout }) }
  }

  get #pool(): EndpointPool {
    return this.#options.pool
  }

  /** Changes never interleave: each sees what the one before it left. */
  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const result = this.#last.then(act)
    // Whoever asked hears of a failure; the next one does not.
    this.#last = result.catch(() => {})
    return result
  }

  async #change(
    after: EndpointCatalog,
    who: string,
    { before, fromFile, mayFail = NONE }: ChangeScope = {
      before: this.#pool.catalog,
      fromFile: this.#fromFile,
    },
  ): Promise<readonly CatalogChange[]> {
    const { pool, history, check } = this.#options
    check(after)
    const plans = await this.#plan(after, mayFail)
    const changes = await history.append(
      changesBetween(before, after).map((change) => ({
        ...change,
        who,
        origin: fromFile.has(change.name) ? 'file' : 'api',
      })),
    )
    pool.apply(after, plans)
    return changes
  }

  /** Whatever is new or another revision, as far as its weights are stored. @throws when one cannot be served */
  async #plan(after: EndpointCatalog, mayFail: ReadonlySet<string>): Promise<CatalogPlans> {
    const plans = new Map<string, ReadonlyMap<string, PreparedVariant>>()
    const { endpoints } = this.#pool.catalog
    for (const { name, before, after: spec } of endpointChanges(endpoints, after.endpoints)) {
      if (spec === null) continue
      if (before !== null && changeKind(before, spec) === 'policy') continue
      try {
        plans.set(name, await this.#planVariants(spec))
      } catch (error) {
        // It is planned again when it starts, and says then why it cannot.
        if (!mayFail.has(name)) throw error
      }
    }
    return plans
  }

  async #planVariants(spec: EndpointSpec): Promise<ReadonlyMap<string, PreparedVariant>> {
    const plans = new Map<string, PreparedVariant>()
    for (const variant of spec.variants) {
      const prepared = await this.#pool.tools.planStored(spec, variant)
      if (prepared === null) continue
      this.#pool.assertFits(spec.name, prepared)
      plans.set(variant.name, prepared)
    }
    return plans
  }

  #endpoint(idOrName: string): Endpoint {
    const { endpoints } = this.#pool
    const found =
      endpoints.get(idOrName) ?? [...endpoints.values()].find(({ id }) => id === idOrName)
    if (found !== undefined) return found
    const names = [...endpoints.keys()]
    const known = names.slice(0, MAX_SHOWN).join(', ') || 'none'
    throw deploymentError('DEPLOYMENT_UNKNOWN_ENDPOINT', { details: { name: idOrName, known } })
  }

  #variant({ name, variants, current }: Endpoint, asked: string | undefined): ServedVariant {
    if (asked === undefined) {
      const chosen = current ?? [...variants.values()][0]
      if (chosen !== undefined) return chosen
    }
    const found = variants.get(asked ?? '')
    if (found !== undefined) return found
    const expected = `one of the variants ${[...variants.keys()].join(', ')}`
    const details = { name, expected, got: asked ?? 'none' }
    throw deploymentError('DEPLOYMENT_BAD_ENDPOINT', { param: 'variant', details })
  }

  #assertFree(name: string): void {
    const { catalog } = this.#pool
    const isAlias = catalog.aliases.some((alias) => alias.name === name)
    if (!isAlias && !this.#pool.endpoints.has(name)) return
    const by = isAlias ? 'an alias' : 'another endpoint'
    throw deploymentError('DEPLOYMENT_NAME_TAKEN', { param: 'name', details: { name, by } })
  }
}

interface ChangeScope {
  readonly before: EndpointCatalog
  /** Names that the file has, or had. */
  readonly fromFile: ReadonlySet<string>
  /** Names that are declared whether they can be served now or not. */
  readonly mayFail?: ReadonlySet<string>
}

const NONE: ReadonlySet<string> = new Set()

function namesOf({ endpoints, aliases }: EndpointCatalog): ReadonlySet<string> {
  return new Set([...endpoints, ...aliases].map(({ name }) => name))
}

function changesBetween(
  before: EndpointCatalog,
  after: EndpointCatalog,
): readonly Omit<NewChange, 'who' | 'origin'>[] {
  const endpoints = endpointChanges(before.endpoints, after.endpoints).map((change) => ({
    ...change,
    what: 'endpoint' as const,
  }))
  const names = new Set([...before.aliases, ...after.aliases].map(({ name }) => name))
  const aliasOf = (catalog: EndpointCatalog, name: string): AliasSpec | null =>
    catalog.aliases.find((alias) => alias.name === name) ?? null
  const aliases = [...names]
    .map((name) => ({ name, before: aliasOf(before, name), after: aliasOf(after, name) }))
    .filter((change) => JSON.stringify(change.before) !== JSON.stringify(change.after))
    .map((change) => ({ ...change, what: 'alias' as const }))
  return [...endpoints, ...aliases]
}
