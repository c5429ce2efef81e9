/**
 * The adapters that one replica's engine shall hold, through all of its processes: told to the one that runs, given to the
 * next one at its start. Owns the list; knows no files.
 *
 * L1 what is on the list is loaded in every process that becomes ready, or its failure was told.
 */

import { reviveServingError, ServingError } from '../base/errors.ts'
import type { AdapterOutcome, AdapterSpec } from './messages.ts'

/** The part of `EngineClient` that this needs. */
export interface AdapterClient {
  /** Rejects with what the engine says of it, or WORKER_ENGINE_DIED. */
  loadAdapter(adapter: AdapterSpec): Promise<void>
  unloadAdapter(slot: number): Promise<void>
}

export class ReplicaAdapters {
  readonly #list: Map<number, AdapterSpec>

  constructor(adapters: readonly AdapterSpec[]) {
    this.#list = new Map(adapters.map((adapter) => [adapter.slot, adapter]))
  }

  /** For the start of a process. */
  all(): readonly AdapterSpec[] {
    return [...this.#list.values()]
  }

  /** @param client - `null` = no process runs; the next one loads it */
  async load(adapter: AdapterSpec, client: AdapterClient | null): Promise<void> {
    this.#list.set(adapter.slot, adapter)
    try {
      await client?.loadAdapter(adapter)
    } catch (error) {
      // A process that ended says nothing of the adapter.
      if (isDeath(error)) return
      this.#list.delete(adapter.slot)
      throw error
    }
  }

  async unload(slot: number, client: AdapterClient | null): Promise<void> {
    const adapter = this.#list.get(slot)
    this.#list.delete(slot)
    try {
      await client?.unloadAdapter(slot)
    } catch (error) {
      if (isDeath(error)) return
      if (adapter !== undefined) this.#list.set(slot, adapter)
      throw error
    }
  }
}

/** Outcomes that are failures, with their errors. */
export function failuresOf(
  outcomes: readonly AdapterOutcome[],
): readonly { readonly slot: number; readonly error: ServingError }[] {
  return outcomes.flatMap(({ slot, error }) =>
    error === null ? [] : [{ slot, error: reviveServingError(error) }],
  )
}

function isDeath(error: unknown): boolean {
  return error instanceof ServingError && error.code === 'WORKER_ENGINE_DIED'
}
