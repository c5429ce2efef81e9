/**
 * Who may load next, and who must leave for it. Owns the line of replicas that want to start and the count of those that
 * load; holds no memory itself. JavaScript thread only.
 *
 * Memory is found in this order, and a later step is only taken when all before it do not give enough:
 *   1 what is free
 *   2 idle models that may leave, the one unused longest first: their weights and their KV
 *   3 the newcomer's own automatic KV, down to one whole context; weights never give way, nor does KV that is in use
 *   4 waiting: after `patienceMs` models with open requests take no new ones, the one loaded longest ago first, and leave
 *     when their last request has ended
 *
 * L1 first come, first placed: who waits for memory is passed only by what fits into free memory at once, and by
 *    nothing once it has waited for `patienceMs`. Who could not be placed even if all left holds up nobody.
 * L2 at most `maxConcurrentLoads` load at a time.
 * P2 nothing with open requests is ended; whoever was told to leave in step 4 is called back when nobody waits any more.
 */

import type { Clock } from '../../base/clock.ts'
import type { Timer } from '../../worker/timer.ts'
import type { MemoryBudget, Reservation } from './memory-budget.ts'

/** A replica that wants to start. */
export interface LoadTicket {
  readonly bytes: number
  /** As little as it can be served with. */
  readonly minBytes: number
  /** Another replica of what serves already: nobody in use leaves for it, and it holds up nobody. */
  readonly isExtra: boolean
  /** Begin; `loadEnded` must be called once afterwards. */
  start(reservation: Reservation): void
}

/** A loaded model that may be asked to leave. */
export interface Resident {
  /** What leaving gives back, bytes. */
  readonly bytes: number
  readonly isIdle: boolean
  /** On its way out already. */
  readonly isLeaving: boolean
  readonly lastUsedMs: number
  readonly readySinceMs: number
  /** Take no new requests, end when none is open. */
  leave(): void
  /** Stay after all, if there is still something to stay for. */
  recall(): void
}

export interface LoadQueueOptions {
  readonly budget: MemoryBudget
  readonly clock: Clock
  readonly timer: Timer
  readonly patienceMs: number
  /** Loaded models that may leave: neither pinned nor dedicated. */
  residents(): Iterable<Resident>
}

interface Waiting {
  readonly ticket: LoadTicket
  readonly sinceMs: number
}

export class LoadQueue {
  readonly #options: LoadQueueOptions
  #maxConcurrentLoads: number
  #line: Waiting[] = []
  #numLoading = 0
  #isPlacing = false
  #mustPlaceAgain = false
  #cancelTimer: () => void = () => {}

  constructor(options: LoadQueueOptions, maxConcurrentLoads: number) {
    this.#options = options
    this.#maxConcurrentLoads = maxConcurrentLoads
  }

  get numLoading(): number {
    return this.#numLoading
  }

  get numWaiting(): number {
    return this.#line.length
  }

  setMaxConcurrentLoads(limit: number): void {
    this.#maxConcurrentLoads = limit
    this.place()
  }

  /** @returns what takes the ticket back; nothing happens when it has started */
  enter(ticket: LoadTicket): () => void {
    const waiting = { ticket, sinceMs: this.#options.clock.nowMs() }
    this.#line.push(waiting)
    this.place()
    return () => {
      const at = this.#line.indexOf(waiting)
      if (at < 0) return
      this.#line.splice(at, 1)
      this.place()
    }
  }

  /** A ticket's replica is ready, or will never be. */
  loadEnded(): void {
    this.#numLoading -= 1
    this.place()
  }

  /** Something changed: memory was freed, a model became idle, a load ended. May be called at any time. */
  place(): void {
    this.#mustPlaceAgain = true
    if (this.#isPlacing) return
    this.#isPlacing = true
    while (this.#mustPlaceAgain) {
      this.#mustPlaceAgain = false
      this.#placeOnce()
    }
    this.#isPlacing = false
  }

  #placeOnce(): void {
    this.#cancelTimer()
    const { budget, clock, patienceMs } = this.#options
    let head: Waiting | null = null
    for (const waiting of [...this.#line]) {
      if (this.#numLoading >= this.#maxConcurrentLoads) break
      const { ticket } = waiting
      const mayPass = head === null || clock.nowMs() - head.sinceMs < patienceMs
      if (mayPass && ticket.bytes <= budget.freeBytes && !this.#isRoomPromised(head)) {
        this.#start(waiting, ticket.bytes)
      } else if (head === null && this.#makeRoom(waiting) === 'waits') {
        head = waiting
      }
    }
    if (this.#line.length === 0) this.#recallAll()
  }

  /** Memory that somebody leaves for the head of the line is not given to others. */
  #isRoomPromised(head: Waiting | null): boolean {
    if (head === null) return false
    return [...this.#options.residents()].some(({ isLeaving }) => isLeaving)
  }

  #makeRoom(waiting: Waiting): 'started' | 'waits' | 'hopeless' {
    const { ticket, sinceMs } = waiting
    const { budget, clock, patienceMs } = this.#options
    const residents = [...this.#options.residents()]
    const staying = residents.filter(({ isLeaving }) => !isLeaving)
    const idle = staying.filter(({ isIdle }) => isIdle)
    let coming = budget.freeBytes + sum(residents.filter(({ isLeaving }) => isLeaving))
    const reachable = coming + sum(idle)
    const target = Math.min(ticket.bytes, Math.max(ticket.minBytes, reachable))
    const take = (victims: Resident[]): void => {
      for (const victim of victims) {
        if (coming >= target) return
        coming += victim.bytes
        victim.leave()
      }
    }
    if (reachable >= ticket.minBytes) {
      take(idle.sort((a, b) => a.lastUsedMs - b.lastUsedMs))
      if (budget.freeBytes < target) return 'waits'
      this.#start(waiting, target)
      return 'started'
    }
    // Pinned and dedicated models hold the rest: nobody leaves for what would not be enough.
    if (ticket.isExtra || coming + sum(staying) < ticket.minBytes) return 'hopeless'
    const leftMs = sinceMs + patienceMs - clock.nowMs()
    if (leftMs > 0) {
      this.#cancelTimer = this.#options.timer.after(leftMs, () => this.place())
      return 'waits'
    }
    take(idle)
    take(staying.filter(({ isIdle }) => !isIdle).sort((a, b) => a.readySinceMs - b.readySinceMs))
    return 'waits'
  }

  #start(waiting: Waiting, bytes: number): void {
    this.#line.splice(this.#line.indexOf(waiting), 1)
    this.#numLoading += 1
    waiting.ticket.start(this.#options.budget.reserve(bytes))
  }

  #recallAll(): void {
    for (const resident of this.#options.residents()) if (resident.isLeaving) resident.recall()
  }
}

function sum(residents: readonly Resident[]): number {
  return residents.reduce((total, { bytes }) => total + bytes, 0)
}
