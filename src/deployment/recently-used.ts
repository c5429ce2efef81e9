/** A few values by key, of which the one unused longest goes first. Owns them; knows nothing of what they are. */

export class RecentlyUsed<Value> {
  readonly #values = new Map<string, Value>()
  readonly #most: number

  /** @param most - values that are kept, at least 1 */
  constructor(most: number) {
    this.#most = most
  }

  get(key: string): Value | undefined {
    const value = this.#values.get(key)
    if (value === undefined) return undefined
    // A map is in the order of insertion.
    this.#values.delete(key)
    this.#values.set(key, value)
    return value
  }

  set(key: string, value: Value): void {
    this.#values.delete(key)
    this.#values.set(key, value)
    for (const oldest of this.#values.keys()) {
      if (this.#values.size <= this.#most) return
      this.#values.delete(oldest)
    }
  }

  delete(key: string): void {
    this.#values.delete(key)
  }
}
