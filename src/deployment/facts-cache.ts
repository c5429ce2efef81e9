/**
 * What checkpoints say of themselves, kept by path and digest: endpoints that are declared anew, and variants of one model,
 * read its vocabulary once. Owns what was read. A read under way is shared; one that failed is not kept.
 */

import { type ModelFacts, readModelFacts } from './model-facts.ts'
import { RecentlyUsed } from './recently-used.ts'

export interface FactsSource {
  readonly path: string
  readonly digest: string
}

/** A vocabulary of 50,000 is some 5 MB; whoever serves a model holds its facts anyway. */
const MAX_KEPT = 4

export class FactsCache {
  readonly #known = new RecentlyUsed<Promise<ModelFacts>>(MAX_KEPT)
  readonly #read: (path: string) => Promise<ModelFacts>

  constructor(read: (path: string) => Promise<ModelFacts> = readModelFacts) {
    this.#read = read
  }

  /** @throws ServingError of the checkpoint, models and text rooms */
  of({ path, digest }: FactsSource): Promise<ModelFacts> {
    const key = `${digest} ${path}`
    const known = this.#known.get(key)
    if (known !== undefined) return known
    const reading = this.#read(path)
    this.#known.set(key, reading)
    reading.catch(() => this.#known.delete(key))
    return reading
  }
}
