/**
 * The adapters of one base: their names, the slot that each has in every replica, who uses them. Owns the slots; tells
 * the replicas, those that run and those that will. Does not know how requests name a base.
 *
 *   loading ── every replica holds it ──▶ loaded ── unload: nothing new, the last request ends ──▶ gone
 *      └── a replica refuses it ──▶ gone
 *
 * T1 a slot belongs to one adapter until no replica holds it: no request is answered with another's numbers.
 * T2 a request begins only while its adapter is loaded, and the adapter stays until the request has ended.
 */

import type { ServingError } from '../../base/errors.ts'
import { digestAdapter } from '../../checkpoint/adapter/adapter-digest.ts'
import type { AdapterSpec } from '../../worker/messages.ts'
import { adapterError } from './errors.ts'

/** The part of a replica that this tells. */
export interface AdapterHolder {
  loadAdapter(adapter: AdapterSpec): Promise<void>
  unloadAdapter(slot: number): Promise<void>
}

export interface AdapterLimits {
  /** Adapters of one base at once. */
  readonly maxLoras: number
  readonly maxRank: number
}

/** What is known of a loaded adapter. */
export interface AdapterFacts {
  readonly name: string
  readonly slot: number
  /** `sha256:` and 64 hex digits, see `digestAdapter`. */
  readonly digest: string
  readonly folder: string
  /** Seconds since 1970. */
  readonly created: number
}

interface Entry extends Omit<AdapterFacts, 'digest'> {
  digest: string | null
  state: 'loading' | 'loaded' | 'unloading'
  /** Why a replica that started later could not load it. */
  failure: string | null
  readonly users: Set<object>
  onUnused: (() => void) | null
  unloaded: Promise<void> | null
}

/** No colon, which stands between a base and its adapter, and no slash. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/

export class AdapterTable {
  readonly #base: string
  readonly #limits: AdapterLimits
  readonly #nowSeconds: () => number
  readonly #entries = new Map<string, Entry>()
  readonly #holders = new Set<AdapterHolder>()

  constructor(base: string, limits: AdapterLimits, nowSeconds: () => number) {
    this.#base = base
    this.#limits = limits
    this.#nowSeconds = nowSeconds
  }

  /** Those that requests may name, by name. */
  list(): readonly AdapterFacts[] {
    return [...this.#entries.values()].flatMap((entry) => factsOf(entry) ?? [])
  }

  find(name: string): AdapterFacts | undefined {
    const entry = this.#entries.get(name)
    return entry === undefined ? undefined : (factsOf(entry) ?? undefined)
  }

  /** For a replica that is made now. */
  specs(): readonly AdapterSpec[] {
    const held = [...this.#entries.values()].filter(({ state }) => state !== 'unloading')
    return held.flatMap((entry) => this.#specOf(entry) ?? [])
  }

  /** It was given `specs`, and is told of every change from now on. @returns what ends that */
  attach(holder: AdapterHolder): () => void {
    this.#holders.add(holder)
    return () => this.#holders.delete(holder)
  }

  /** A replica could not load it as it started. */
  failed(slot: number, reason: string): void {
    for (const entry of this.#entries.values()) if (entry.slot === slot) entry.failure = reason
  }

  /**
   * Resolves when every replica that runs holds it.
   *
   * @throws ServingError ADAPTER_BAD_NAME, ADAPTER_EXISTS, ADAPTER_TOO_MANY, and what is wrong with its files
   */
  async load(name: string, folder: string): Promise<AdapterFacts> {
    const entry = this.#enter(name, folder)
    try {
      entry.digest = await digestAdapter(folder)
      const spec = this.#specOf(entry)
      if (spec !== null) await all([...this.#holders].map((holder) => holder.loadAdapter(spec)))
      entry.state = 'loaded'
      return { ...entry, digest: entry.digest }
    } catch (error) {
      entry.state = 'unloading'
      await Promise.allSettled([...this.#holders].map((one) => one.unloadAdapter(entry.slot)))
      this.#entries.delete(name)
      throw error
    }
  }

  /**
   * Take no more requests of it, and free it when those that run have ended. Asked again, it waits for the same.
   *
   * @throws ServingError ADAPTER_UNKNOWN, ADAPTER_IS_LOADING, WORKER_ADAPTER_IN_USE
   */
  unload(name: string): Promise<void> {
    const entry = this.#entries.get(name)
    if (entry === undefined) throw this.unknown(name)
    if (entry.state === 'loading') {
      throw adapterError('ADAPTER_IS_LOADING', { details: { base: this.#base, name } })
    }
    entry.unloaded ??= this.#unload(entry)
    return entry.unloaded
  }

  /**
   * The adapter of a request that begins now, which must tell of its end.
   *
   * @throws ServingError ADAPTER_UNKNOWN; ADAPTER_FAILED when a replica does not hold it
   */
  use(name: string, user: object): AdapterFacts {
    const entry = this.#entries.get(name)
    const facts = entry === undefined ? null : factsOf(entry)
    if (entry === undefined || facts === null) throw this.unknown(name)
    if (entry.failure !== null) {
      const details = { base: this.#base, name, reason: entry.failure }
      throw adapterError('ADAPTER_FAILED', { details })
    }
    entry.users.add(user)
    return facts
  }

  /** Said once or more; nothing happens for who does not use it. */
  ended(name: string, user: object): void {
    const entry = this.#entries.get(name)
    if (entry?.users.delete(user) && entry.users.size === 0) entry.onUnused?.()
  }

  unknown(name: string): ServingError {
    const loaded = this.list().map((adapter) => adapter.name)
    const details = { base: this.#base, name, loaded: loaded.join(', ') || 'none' }
    return adapterError('ADAPTER_UNKNOWN', { param: 'model', details })
  }

  #enter(name: string, folder: string): Entry {
    if (!NAME.test(name)) {
      const shown = name.slice(0, 100)
      throw adapterError('ADAPTER_BAD_NAME', { param: 'lora_name', details: { name: shown } })
    }
    if (this.#entries.has(name)) {
      const details = { base: this.#base, name }
      throw adapterError('ADAPTER_EXISTS', { param: 'lora_name', details })
    }
    const taken = new Set([...this.#entries.values()].map(({ slot }) => slot))
    let slot = 1
    while (taken.has(slot)) slot += 1
    const { maxLoras } = this.#limits
    if (slot > maxLoras) {
      const details = { base: this.#base, maxLoras }
      throw adapterError('ADAPTER_TOO_MANY', { param: '--max-loras', details })
    }
    const entry: Entry = {
      ...{ name, slot, folder, created: this.#nowSeconds() },
      ...{ digest: null, state: 'loading', failure: null },
      ...{ users: new Set(), onUnused: null, unloaded: null },
    }
    this.#entries.set(name, entry)
    return entry
  }

  async #unload(entry: Entry): Promise<void> {
    entry.state = 'unloading'
    if (entry.users.size > 0) {
      await new Promise<void>((resolve) => {
        entry.onUnused = resolve
      })
    }
    try {
      await all([...this.#holders].map((holder) => holder.unloadAdapter(entry.slot)))
    } catch (error) {
      entry.unloaded = null
      throw error
    }
    this.#entries.delete(entry.name)
  }

  #specOf({ slot, folder, digest }: Entry): AdapterSpec | null {
    return digest === null ? null : { slot, folder, digest, maxRank: this.#limits.maxRank }
  }
}

function factsOf(entry: Entry): AdapterFacts | null {
  const { name, slot, digest, folder, created, state } = entry
  return state !== 'loaded' || digest === null ? null : { name, slot, digest, folder, created }
}

/** Waits for all of them, so that none is still at work when the first failure is told. */
async function all(promises: readonly Promise<void>[]): Promise<void> {
  const outcomes = await Promise.allSettled(promises)
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
}
