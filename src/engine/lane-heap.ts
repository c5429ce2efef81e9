/**
 * The lanes of one rank that have somebody waiting, the tenant with the least work on top. A binary heap whose keys may
 * lag behind, because work is counted in every step: the top is put in its place when it is asked for (a key only
 * grows, so what is above is never wrong for long).
 * H1 A lane's `heapIndex` is its place here, -1 elsewhere. H2 No key is below its parent's.
 */

import { invariant } from '../base/errors.ts'
import type { Lane } from './tenant.ts'

export class LaneHeap {
  readonly #lanes: Lane[] = []

  get size(): number {
    return this.#lanes.length
  }

  /** The lane of the tenant with the least work, or null. Cost: O(log lanes) for each key that lags on top. */
  top(): Lane | null {
    for (;;) {
      const lane = this.#lanes[0]
      if (lane === undefined) return null
      if (lane.heapKey === lane.tenant.workTokens) return lane
      lane.heapKey = lane.tenant.workTokens
      this.#sink(0)
    }
  }

  add(lane: Lane): void {
    lane.heapKey = lane.tenant.workTokens
    lane.heapIndex = this.#lanes.length
    this.#lanes.push(lane)
    this.#rise(lane.heapIndex)
  }

  remove(lane: Lane): void {
    const index = lane.heapIndex
    invariant(this.#lanes[index] === lane, 'H1', 'a lane is not where it says')
    const last = this.#lanes.pop()!
    lane.heapIndex = -1
    if (last === lane) return
    this.#place(last, index)
    this.#rise(index)
    this.#sink(last.heapIndex)
  }

  #rise(from: number): void {
    const lane = this.#lanes[from]!
    let index = from
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (this.#lanes[parent]!.heapKey <= lane.heapKey) break
      this.#place(this.#lanes[parent]!, index)
      index = parent
    }
    this.#place(lane, index)
  }

  #sink(from: number): void {
    const lane = this.#lanes[from]!
    let index = from
    for (;;) {
      let child = 2 * index + 1
      if (child >= this.#lanes.length) break
      const right = child + 1
      if (right < this.#lanes.length && this.#lanes[right]!.heapKey < this.#lanes[child]!.heapKey)
        child = right
      if (this.#lanes[child]!.heapKey >= lane.heapKey) break
      this.#place(this.#lanes[child]!, index)
      index = child
    }
    this.#place(lane, index)
  }

  #place(lane: Lane, index: number): void {
    this.#lanes[index] = lane
    lane.heapIndex = index
  }

  /** Visit every lane. Cost: O(lanes); for tests and idle moments. */
  checkIntegrity(check: (lane: Lane) => void): void {
    for (const [index, lane] of this.#lanes.entries()) {
      invariant(lane.heapIndex === index, 'H1', 'a lane is not where it says')
      const parent = this.#lanes[(index - 1) >> 1]
      const isOrdered = index === 0 || (parent?.heapKey ?? 0) <= lane.heapKey
      invariant(isOrdered, 'H2', 'a lane is above one of less work')
      invariant(lane.queue.size > 0, 'H1', 'a lane without anyone waiting is in the heap')
      check(lane)
    }
  }
}
