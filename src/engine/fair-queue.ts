/**
 * Who is let in next. Tiers go first by rank; within a tier, whoever was preempted, then the tenant that has been given
 * the least work, so that one tenant's thousand requests cannot starve another's one; within a tenant, the oldest.
 *
 *   rank 0  resumed …   tenants by work:  [a: s1 s4 …] [b: s2]
 *   rank 1  resumed …   …                                          every 8th admission goes to the next rank down
 *   rank 2  resumed …   …                                          that waits, which then runs with the higher rank
 *
 * Work is a virtual counter of tokens: each computed token counts 1, each drawn one 1 more, a token found in the prefix
 * cache or computed again after preemption nothing. A tenant that comes back from idleness starts level with the ones
 * that wait, so idleness earns no credit.
 * Owns tenants and everyone who waits. Does not know budgets, blocks or the running list. Invariants:
 * W3 A sequence waits in exactly one lane or resumed list. W4 `size` and `numTokens` are sums over all of them.
 * Source: Virtual Token Counter, arXiv:2401.00588, algorithm 2.
 */

import { invariant } from '../base/errors.ts'
import { LaneHeap } from './lane-heap.ts'
import { type Sequence, SequenceStatus } from './sequence.ts'
import { NUM_TIERS } from './service-tier.ts'
import { type Lane, Tenant } from './tenant.ts'
import { WaitingQueue } from './waiting-queue.ts'

/** Admissions in a row that may pass a lower tier: it gets an eighth of them at least. */
const MOST_PASSES = 7
/** Tenants without sequences whose work is remembered; beyond, the ones that leave are forgotten. */
const MOST_TENANTS = 4096

export class FairQueue {
  readonly #tenants = new Map<string, Tenant>()
  readonly #heaps: readonly LaneHeap[] = Array.from({ length: NUM_TIERS }, () => new LaneHeap())
  readonly #resumed: readonly WaitingQueue[] = Array.from(
    { length: NUM_TIERS },
    () => new WaitingQueue(),
  )
  #size = 0
  #numTokens = 0
  #numPasses = 0
  /** Work of the tenant that was served last: where a tenant starts that finds nobody waiting. */
  #servedWork = 0

  get size(): number {
    return this.#size
  }

  /** Known tokens of all that wait. */
  get numTokens(): number {
    return this.#numTokens
  }

  /** With sequences, or remembered for the work that they were given. */
  get numTenants(): number {
    return this.#tenants.size
  }

  /** A new sequence joins its tenant's lane, younger than all in it. Cost: O(log tenants that wait). */
  push(sequence: Sequence): void {
    const tenant = this.#tenantOf(sequence.tenantName)
    tenant.numSequences += 1
    sequence.tenant = tenant
    const lane = tenant.lanes[sequence.rank]!
    lane.queue.pushBack(sequence)
    this.#count(sequence, 1)
    if (lane.heapIndex >= 0) return
    const heap = this.#heaps[sequence.rank]!
    const least = heap.top()?.tenant.workTokens ?? this.#servedWork
    // Who has waiting or running sequences already has its place.
    if (tenant.numSequences === 1) tenant.workTokens = Math.max(tenant.workTokens, least)
    heap.add(lane)
  }

  /** A preempted sequence waits before all new ones of its rank. */
  pushResumed(sequence: Sequence): void {
    this.#resumed[sequence.rank]!.pushBack(sequence)
    this.#count(sequence, 1)
  }

  /** Take a sequence out from anywhere. Cost: O(log tenants that wait). */
  remove(sequence: Sequence): void {
    this.#count(sequence, -1)
    if (sequence.status === SequenceStatus.preempted) {
      this.#resumed[sequence.rank]!.remove(sequence)
      return
    }
    const lane = sequence.tenant!.lanes[sequence.rank]!
    lane.queue.remove(sequence)
    if (lane.queue.size === 0) this.#heaps[sequence.rank]!.remove(lane)
  }

  /** One that was removed for a while comes back to the front of its queue; its tenant still counts it. */
  putBack(sequence: Sequence): void {
    this.#count(sequence, 1)
    if (sequence.status === SequenceStatus.preempted) {
      this.#resumed[sequence.rank]!.pushFront(sequence)
      return
    }
    const lane = sequence.tenant!.lanes[sequence.rank]!
    lane.queue.pushFront(sequence)
    if (lane.heapIndex < 0) this.#heaps[sequence.rank]!.add(lane)
  }

  /** Who is next, or null. Cost: O(log tenants that wait); changes nothing that can be seen. */
  next(): Sequence | null {
    let first: Sequence | null = null
    for (let rank = 0; rank < NUM_TIERS; rank++) {
      const sequence = this.#nextOf(rank)
      if (sequence === null) continue
      if (first === null) first = sequence
      else if (this.#numPasses >= MOST_PASSES) return sequence
    }
    return first
  }

  /** Take out who was `next`. One that was let past a higher tier runs with that tier's rank. */
  admit(sequence: Sequence): void {
    this.#servedWork = Math.max(this.#servedWork, sequence.tenant!.workTokens)
    this.remove(sequence)
    const higher = this.#firstWaitingRank(0)
    if (higher < sequence.rank) {
      sequence.rank = higher
      this.#numPasses = 0
    } else if (this.#firstWaitingRank(sequence.rank + 1) < NUM_TIERS) this.#numPasses += 1
    else this.#numPasses = 0
  }

  /** Count the work of a share of the step; the first time only, not when it is computed again. Cost: O(1). */
  charge(sequence: Sequence, numTokens: number, drawsToken: boolean): void {
    const numReached = sequence.numComputedTokens + numTokens
    const numNew = Math.max(0, numReached - sequence.numChargedTokens)
    if (numNew === 0) return
    sequence.numChargedTokens = numReached
    sequence.tenant!.workTokens += numNew + (drawsToken ? 1 : 0)
  }

  /** The sequence has ended. */
  forget(sequence: Sequence): void {
    const tenant = sequence.tenant
    if (tenant === null) return
    sequence.tenant = null
    tenant.numSequences -= 1
    if (tenant.numSequences > 0) return
    const owes = tenant.workTokens > this.#servedWork
    if (!owes || this.#tenants.size > MOST_TENANTS) this.#tenants.delete(tenant.name)
  }

  #nextOf(rank: number): Sequence | null {
    return this.#resumed[rank]!.head ?? this.#heaps[rank]!.top()?.queue.head ?? null
  }

  #firstWaitingRank(from: number): number {
    let rank = from
    while (rank < NUM_TIERS && this.#resumed[rank]!.size + this.#heaps[rank]!.size === 0) rank += 1
    return rank
  }

  #tenantOf(name: string): Tenant {
    let tenant = this.#tenants.get(name)
    if (tenant === undefined) {
      tenant = new Tenant(name)
      this.#tenants.set(name, tenant)
    }
    return tenant
  }

  #count(sequence: Sequence, sign: 1 | -1): void {
    this.#size += sign
    this.#numTokens += sign * sequence.numTokens
  }

  /** Visit everyone who waits. Cost: O(size); for tests and idle moments. */
  checkIntegrity(check: (sequence: Sequence) => void): void {
    let size = 0
    let numTokens = 0
    const visit = (queue: WaitingQueue): void => {
      queue.checkIntegrity()
      for (let sequence = queue.head; sequence !== null; sequence = sequence.queueNext) {
        size += 1
        numTokens += sequence.numTokens
        check(sequence)
      }
    }
    for (const queue of this.#resumed) visit(queue)
    for (const heap of this.#heaps) heap.checkIntegrity((lane: Lane) => visit(lane.queue))
    const isWhole = size === this.#size && numTokens === this.#numTokens
    invariant(isWhole, 'W4', 'more or fewer sequences wait than are counted')
  }
}
