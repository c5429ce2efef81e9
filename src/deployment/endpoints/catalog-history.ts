/**
 * Where changes of endpoints and aliases are written before they are applied. A port (the file is
 * `provenance/catalog-history-file.ts`) and its memory-only form, for servers that keep no file.
 */

import type { Clock } from '../../base/clock.ts'
import type { CatalogChange } from './endpoints-admin.ts'

export type NewChange = Omit<CatalogChange, 'sequence' | 'time'>

export interface CatalogHistory {
  /**
   * All or none, durably. @returns them with their numbers, in order
   *
   * @throws ServingError when they could not be written; then nothing may be applied
   */
  append(changes: readonly NewChange[]): Promise<readonly CatalogChange[]>
  /** @param name - `undefined` = of all */
  list(name?: string): Promise<readonly CatalogChange[]>
}

export class MemoryHistory implements CatalogHistory {
  readonly #clock: Clock
  readonly #changes: CatalogChange[] = []

  constructor(clock: Clock) {
    this.#clock = clock
  }

  async append(changes: readonly NewChange[]): Promise<readonly CatalogChange[]> {
    const time = new Date(this.#clock.wallMs()).toISOString()
    const first = this.#changes.length + 1
    const numbered = changes.map((change, at) => ({ ...change, sequence: first + at, time }))
    this.#changes.push(...numbered)
    return numbered
  }

  async list(name?: string): Promise<readonly CatalogChange[]> {
    return this.#changes.filter((change) => name === undefined || change.name === name)
  }
}
