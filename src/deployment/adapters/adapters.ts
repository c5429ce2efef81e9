/**
 * The adapters of all bases of this process: `base:adapter` in a request, the slots in each base's replicas. Owns one
 * table a base, which outlives the base's replicas: whatever process starts is given its base's adapters.
 */

import type { Clock } from '../../base/clock.ts'
import type { ReplicaRequest } from '../endpoints/pool-tools.ts'
import type { Replica } from '../replica.ts'
import { type AdapterLimits, AdapterTable } from './adapter-table.ts'

export interface NamedAdapter {
  /** Id or alias of a model. */
  readonly base: string
  readonly adapter: string
}

/** `null` where there is no colon; the last one counts, since names of models may have some. */
export function splitAdapterName(name: string): NamedAdapter | null {
  const colon = name.lastIndexOf(':')
  if (colon <= 0 || colon === name.length - 1) return null
  return { base: name.slice(0, colon), adapter: name.slice(colon + 1) }
}

export class Adapters {
  readonly #limits: AdapterLimits
  readonly #clock: Clock
  readonly #tables = new Map<string, AdapterTable>()

  constructor(limits: AdapterLimits, clock: Clock) {
    this.#limits = limits
    this.#clock = clock
  }

  /** Of a base by its id; made when it is first asked for. */
  of(base: string): AdapterTable {
    const known = this.#tables.get(base)
    if (known !== undefined) return known
    const nowSeconds = (): number => Math.floor(this.#clock.wallMs() / 1000)
    const table = new AdapterTable(base, this.#limits, nowSeconds)
    this.#tables.set(base, table)
    return table
  }

  /** A replica that holds its base's adapters from its start to its end. */
  replica(request: ReplicaRequest, create: (request: ReplicaRequest) => Replica): Replica {
    const table = this.of(request.modelId)
    const replica = create({
      ...request,
      engine: { ...request.engine, adapters: table.specs() },
      onAdapterFailed: (slot, error) => table.failed(slot, error.message),
    })
    const detach = table.attach(replica)
    return {
      start: () => replica.start(),
      status: () => replica.status(),
      restart: (reason) => replica.restart(reason),
      submit: (sequences, listener) => replica.submit(sequences, listener),
      cancel: (ids) => replica.cancel(ids),
      loadAdapter: (adapter) => replica.loadAdapter(adapter),
      unloadAdapter: (slot) => replica.unloadAdapter(slot),
      stop: () => {
        detach()
        return replica.stop()
      },
    }
  }
}
