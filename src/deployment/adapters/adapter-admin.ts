/**
 * The port through which routes and the start load and unload adapters by name, and what decides which base is meant and
 * which folders may be read.
 *
 * N1 over HTTP only folders within the allowed one are read, whatever links lie in it.
 */

import { realpath } from 'node:fs/promises'
import { isAbsolute, relative, resolve, sep } from 'node:path'
import type { ModelCard } from '../deployments.ts'
import { adapterCard } from './adapter-card.ts'
import { type Adapters, splitAdapterName } from './adapters.ts'
import { adapterError } from './errors.ts'

export interface AdapterAdmin {
  /**
   * @param name - `adapter` where one model is served, else `base:adapter`
   * @param path - folder as PEFT saves it
   * @throws ServingError ADAPTER_*, and what is wrong with its files
   */
  load(name: string, path: string): Promise<ModelCard>
  /** Resolves when its last request has ended. @returns its whole name */
  unload(name: string): Promise<string>
}

/** The part of `Deployments` that this asks. */
export interface BaseModels {
  list(): readonly ModelCard[]
  find(name: string): ModelCard | undefined
}

export class AdapterNames implements AdapterAdmin {
  readonly #models: BaseModels
  readonly #adapters: Adapters

  constructor(models: BaseModels, adapters: Adapters) {
    this.#models = models
    this.#adapters = adapters
  }

  async load(name: string, path: string): Promise<ModelCard> {
    const { base, adapter } = this.#named(name)
    return adapterCard(base, await this.#adapters.of(base.id).load(adapter, path))
  }

  async unload(name: string): Promise<string> {
    const { base, adapter } = this.#named(name)
    await this.#adapters.of(base.id).unload(adapter)
    return `${base.id}:${adapter}`
  }

  #named(name: string): { readonly base: ModelCard; readonly adapter: string } {
    const parts = splitAdapterName(name)
    const bases = this.#models.list().filter(({ adapter }) => adapter === undefined)
    if (parts !== null) {
      const base = this.#models.find(parts.base)
      if (base !== undefined && base.adapter === undefined) return { base, adapter: parts.adapter }
    }
    const [only, ...others] = bases
    if (parts === null && only !== undefined && others.length === 0) {
      return { base: only, adapter: name }
    }
    const served = bases.map(({ id }) => id).join(', ') || 'none'
    const example = `${only?.id ?? 'base'}:adapter`
    const details = { name: name.slice(0, 200), served, example }
    throw adapterError('ADAPTER_NO_BASE', { param: 'lora_name', details })
  }
}

/** `AdapterAdmin` for callers over HTTP. */
export class ConfinedAdapters implements AdapterAdmin {
  readonly #inner: AdapterAdmin
  readonly #folder: string | null

  /** @param folder - what may be read; `null` = nothing */
  constructor(inner: AdapterAdmin, folder: string | null) {
    this.#inner = inner
    this.#folder = folder
  }

  async load(name: string, path: string): Promise<ModelCard> {
    if (this.#folder === null) throw adapterError('ADAPTER_LOADING_OFF')
    return this.#inner.load(name, await within(this.#folder, path))
  }

  async unload(name: string): Promise<string> {
    if (this.#folder === null) throw adapterError('ADAPTER_LOADING_OFF')
    return this.#inner.unload(name)
  }
}

/** What is not there is told as what lies outside, so that nobody learns what lies where (N1). */
async function within(folder: string, path: string): Promise<string> {
  try {
    const root = await realpath(folder)
    const place = await realpath(resolve(root, path))
    const inner = relative(root, place)
    const isInside = inner !== '' && inner !== '..' && !inner.startsWith(`..${sep}`)
    if (isInside && !isAbsolute(inner)) return place
  } catch {
    // As below.
  }
  throw adapterError('ADAPTER_OUTSIDE', { param: 'lora_path' })
}
