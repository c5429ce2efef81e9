/** Who waits for which adapter in an engine process. Answers to one slot come in the order of what was asked. */

import { reviveServingError, type ServingError } from '../base/errors.ts'
import type { AdapterOutcome } from './messages.ts'

interface Waiting {
  resolve(): void
  reject(error: ServingError): void
}

export class AdapterAnswers {
  readonly #waiting = new Map<number, Waiting[]>()

  /** Settles with the next answer of this slot that nobody before waits for. */
  next(slot: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const line = this.#waiting.get(slot) ?? []
      line.push({ resolve, reject })
      this.#waiting.set(slot, line)
    })
  }

  settle({ slot, error }: AdapterOutcome): void {
    const line = this.#waiting.get(slot) ?? []
    const first = line.shift()
    if (line.length === 0) this.#waiting.delete(slot)
    if (error === null) first?.resolve()
    else first?.reject(reviveServingError(error))
  }

  /** No answer comes any more. */
  rejectAll(error: ServingError): void {
    const all = [...this.#waiting.values()].flat()
    this.#waiting.clear()
    for (const { reject } of all) reject(error)
  }
}
