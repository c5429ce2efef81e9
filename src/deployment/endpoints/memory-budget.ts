/**
 * The memory that loaded models may take together, and who holds how much of it. Reservations are made of planned bytes
 * before a process starts and given back after it has ended. Owns the sum. Knows no models and measures nothing.
 *
 *   0 ├─ reserved: weights + KV + process, a replica ─┼─ … ─┼─ free ─┤ budget
 *
 * P1 a reservation is only made while reserved + its bytes ≤ budget; each is given back exactly once.
 */

import { invariant } from '../../base/errors.ts'
import type { Hardware } from '../../config/hardware.ts'
import { formatBytes } from '../../config/option.ts'

/** What one replica takes, bytes. `minKvBytes` is as little KV as it can be served with; equal = it cannot give way. */
export interface ReplicaSize {
  readonly weightsBytes: number
  readonly kvBytes: number
  readonly minKvBytes: number
  readonly processBytes: number
}

/**
 * Code, heap and buffers of an engine process beside weights and KV. SmolLM2, 2026-11-28: 112 MiB when it is ready, 130 with
 * ten prompts of 500 tokens inside.
 */
export const PROCESS_BYTES: number = 128 * 2 ** 20
/** The rest is for this process, the page cache and everything else of the machine. */
const AUTOMATIC_SHARE = 0.8

export interface BudgetLimit {
  readonly bytes: number
  /** Why so much, in one sentence. */
  readonly reason: string
}

/** What was configured, or most of what the machine has free. */
export function budgetLimit(
  configuredBytes: number | null,
  { freeMemoryBytes, memoryReason }: Pick<Hardware, 'freeMemoryBytes' | 'memoryReason'>,
): BudgetLimit {
  if (configuredBytes !== null) return { bytes: configuredBytes, reason: 'as configured' }
  const percent = Math.round(AUTOMATIC_SHARE * 100)
  const reason = `${percent} % of the ${formatBytes(freeMemoryBytes)} of ${memoryReason}`
  return { bytes: Math.floor(freeMemoryBytes * AUTOMATIC_SHARE), reason }
}

export function totalBytes(size: ReplicaSize): number {
  return size.weightsBytes + size.kvBytes + size.processBytes
}

export function leastBytes(size: ReplicaSize): number {
  return size.weightsBytes + size.minKvBytes + size.processBytes
}

/** `weights 91.7 MiB + KV 188.0 MiB + process 128.0 MiB = 407.7 MiB`, of the least that it can be served with. */
export function arithmetic(size: ReplicaSize): string {
  const { weightsBytes, minKvBytes, processBytes } = size
  const parts = [
    `weights ${formatBytes(weightsBytes)}`,
    `KV ${formatBytes(minKvBytes)}`,
    `process ${formatBytes(processBytes)}`,
  ]
  return `${parts.join(' + ')} = ${formatBytes(leastBytes(size))}`
}

export class Reservation {
  readonly bytes: number
  readonly #onRelease: () => void
  #isReleased = false

  constructor(bytes: number, onRelease: () => void) {
    this.bytes = bytes
    this.#onRelease = onRelease
  }

  release(): void {
    invariant(!this.#isReleased, 'P1', 'a reservation of memory was given back twice')
    this.#isReleased = true
    this.#onRelease()
  }
}

export class MemoryBudget {
  #limit: BudgetLimit
  readonly #onFreed: () => void
  #reservedBytes = 0

  /** @param onFreed - some memory was given back */
  constructor(limit: BudgetLimit, onFreed: () => void) {
    this.#limit = limit
    this.#onFreed = onFreed
  }

  get limit(): BudgetLimit {
    return this.#limit
  }

  /** A smaller one takes nothing away; it lets nothing new in until enough was given back. */
  setLimit(limit: BudgetLimit): void {
    const isMore = limit.bytes > this.#limit.bytes
    this.#limit = limit
    if (isMore) this.#onFreed()
  }

  get reservedBytes(): number {
    return this.#reservedBytes
  }

  /** Negative after the budget was made smaller than what is reserved. */
  get freeBytes(): number {
    return this.#limit.bytes - this.#reservedBytes
  }

  reserve(bytes: number): Reservation {
    invariant(bytes <= this.freeBytes, 'P1', 'more memory was reserved than the budget has')
    this.#reservedBytes += bytes
    return new Reservation(bytes, () => {
      this.#reservedBytes -= bytes
      this.#onFreed()
    })
  }
}
