/**
 * A tenant's account of work, and its waiting sequences of each tier. Plain state; `FairQueue` moves it.
 * T1 `workTokens` only grows.
 */

import { NUM_TIERS } from './service-tier.ts'
import { WaitingQueue } from './waiting-queue.ts'

/** One tenant's waiting sequences of one rank, oldest first. */
export class Lane {
  readonly tenant: Tenant
  readonly queue: WaitingQueue = new WaitingQueue()
  /** The tenant's work when the lane was last placed in its heap; at most what it is now (T1). */
  heapKey = 0
  /** Place in the heap of its rank; -1 while nothing waits. */
  heapIndex = -1

  constructor(tenant: Tenant) {
    this.tenant = tenant
  }
}

export class Tenant {
  readonly name: string
  /** By rank. */
  readonly lanes: readonly Lane[]
  /** Virtual: tokens computed for it, and what it was lifted by when it came back from idleness. */
  workTokens = 0
  /** Sequences that wait or run. */
  numSequences = 0

  constructor(name: string) {
    this.name = name
    this.lanes = Array.from({ length: NUM_TIERS }, () => new Lane(this))
  }
}
