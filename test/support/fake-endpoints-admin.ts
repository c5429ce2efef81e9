/**
 * Endpoints in memory for API tests: keeps the promises of `endpoints-admin.ts` with nothing behind them. Names are
 * looked up as the port says; times are a counter, so that tests can compare whole answers.
 */

import { ServingError } from '../../src/base/errors.ts'
import type { AdapterAdmin } from '../../src/deployment/adapters/adapter-admin.ts'
import { adapterCard } from '../../src/deployment/adapters/adapter-card.ts'
import type { ModelCard } from '../../src/deployment/deployments.ts'
import type { AliasSpec, EndpointSpec } from '../../src/deployment/endpoints/endpoint-spec.ts'
import type {
  CatalogChange,
  EndpointStatus,
  EndpointsAdmin,
  PoolStatus,
  VariantProfile,
} from '../../src/deployment/endpoints/endpoints-admin.ts'
import type { Administration } from '../../src/server/administration.ts'
import { FAKE_CARD } from './fake-deployments.ts'

export const FAKE_MACHINE = { numCores: 6, memoryBytes: 24e9, kernels: 'avx512' }
const CREATED_AT = 1_790_000_000
const BUDGET_BYTES = 1000

export const FAKE_PROFILE: VariantProfile = {
  variant: 'int8',
  quantization: 'int8',
  format: 'int8 (groups of 32)',
  weightsBytes: 100,
  kvBytesPerToken: 2,
  kvMemoryBytes: 200,
  maxContextTokens: 100,
  totalBytes: 300,
  fitsNow: true,
  qualityKl: null,
  tokensPerSecond: 12.5,
}

export class FakeEndpointsAdmin implements EndpointsAdmin {
  readonly endpoints = new Map<string, EndpointStatus>()
  readonly aliasesByName = new Map<string, AliasSpec>()
  readonly changes: CatalogChange[] = []
  /** What `profiles` says, by model. */
  readonly profilesByModel = new Map<string, readonly VariantProfile[]>([['known', [FAKE_PROFILE]]])
  /** Calls that change no declaration. */
  readonly calls: string[] = []

  status(): PoolStatus {
    return {
      budgetBytes: BUDGET_BYTES,
      budgetReason: 'configured',
      reservedBytes: 0,
      residentBytes: 0,
      numLoading: 0,
      endpoints: [...this.endpoints.values()],
    }
  }

  get(idOrName: string): EndpointStatus {
    const found = [...this.endpoints.values()].find(
      ({ id, spec }) => id === idOrName || spec.name === idOrName,
    )
    if (found === undefined) throw unknown(idOrName)
    return found
  }

  async create(spec: EndpointSpec, who: string): Promise<EndpointStatus> {
    if ([...this.endpoints.values()].some((one) => one.spec.name === spec.name)) {
      throw refusal('DEPLOYMENT_NAME_TAKEN', 409, 'the name is taken')
    }
    const id = `endpoint-${String(this.changes.length).padStart(8, '0')}-0000-4000-8000-000000000000`
    const status: EndpointStatus = {
      id,
      spec,
      state: spec.state,
      reason: null,
      replicas: [],
      variant: null,
      reservedBytes: 0,
      loadMs: null,
      idleMs: null,
      createdAt: CREATED_AT,
      numOpenRequests: 0,
    }
    this.#record(who, 'endpoint', spec.name, null, spec)
    this.endpoints.set(id, status)
    return status
  }

  async update(
    idOrName: string,
    patch: Partial<Omit<EndpointSpec, 'name' | 'mode'>>,
    who: string,
  ): Promise<EndpointStatus> {
    const before = this.get(idOrName)
    const spec = { ...before.spec, ...patch }
    this.#record(who, 'endpoint', spec.name, before.spec, spec)
    const after = { ...before, spec, state: spec.state }
    this.endpoints.set(before.id, after)
    return after
  }

  async remove(idOrName: string, who: string): Promise<void> {
    const { id, spec } = this.get(idOrName)
    this.#record(who, 'endpoint', spec.name, spec, null)
    this.endpoints.delete(id)
  }

  async load(idOrName: string, variant?: string): Promise<EndpointStatus> {
    this.calls.push(`load ${idOrName} ${variant ?? '(any)'}`)
    return this.get(idOrName)
  }

  async unload(idOrName: string): Promise<EndpointStatus> {
    this.calls.push(`unload ${idOrName}`)
    const status = this.get(idOrName)
    if (status.spec.isPinned) throw refusal('DEPLOYMENT_PINNED', 409, 'it is pinned')
    return status
  }

  async profiles(model: string): Promise<readonly VariantProfile[]> {
    const found = this.profilesByModel.get(model)
    if (found === undefined) throw unknown(model)
    return found
  }

  aliases(): readonly AliasSpec[] {
    return [...this.aliasesByName.values()]
  }

  async setAlias(name: string, alias: AliasSpec | null, who: string): Promise<void> {
    this.#record(who, 'alias', name, this.aliasesByName.get(name) ?? null, alias)
    if (alias === null) this.aliasesByName.delete(name)
    else this.aliasesByName.set(name, alias)
  }

  async history(name?: string): Promise<readonly CatalogChange[]> {
    return this.changes.filter((change) => name === undefined || change.name === name)
  }

  async reload(who: string): Promise<{ readonly changes: readonly CatalogChange[] }> {
    this.calls.push(`reload by ${who}`)
    return { changes: [] }
  }

  #record(
    who: string,
    what: 'endpoint' | 'alias',
    name: string,
    before: EndpointSpec | AliasSpec | null,
    after: EndpointSpec | AliasSpec | null,
  ): void {
    const sequence = this.changes.length + 1
    const time = new Date(CREATED_AT * 1000).toISOString()
    this.changes.push({ sequence, time, who, what, name, origin: 'api', before, after })
  }
}

/** Takes every adapter, unless told otherwise. */
export class FakeAdapters implements AdapterAdmin {
  readonly calls: string[] = []
  refusal: Error | null = null

  async load(name: string, path: string): Promise<ModelCard> {
    this.calls.push(`load ${name} from ${path}`)
    if (this.refusal !== null) throw this.refusal
    const adapter = { name, digest: 'sha256:12', slot: 1, folder: path, created: 5 }
    return adapterCard(FAKE_CARD, adapter)
  }

  async unload(name: string): Promise<string> {
    this.calls.push(`unload ${name}`)
    if (this.refusal !== null) throw this.refusal
    return `${FAKE_CARD.id}:${name}`
  }
}

export function fakeAdministration(): Administration & {
  readonly endpoints: FakeEndpointsAdmin
  readonly adapters: FakeAdapters
} {
  return {
    endpoints: new FakeEndpointsAdmin(),
    adapters: new FakeAdapters(),
    machine: FAKE_MACHINE,
    defaults: { activations: 'bf16', retention: 'standard' },
    nowMs: () => CREATED_AT * 1000,
  }
}

function unknown(name: string): ServingError {
  return refusal('DEPLOYMENT_UNKNOWN_ENDPOINT', 404, `there is no endpoint "${name}"`)
}

function refusal(code: string, status: number, message: string): ServingError {
  return new ServingError(code, { status, retryable: false, message })
}
