/**
 * An engine's totals of KV that was moved instead of computed, as metrics: copied tails, swapped blocks, blocks kept on
 * disk. One object a replica, inside its `EngineMetrics`. Owns the totals last seen.
 *
 * I1 as in `engine-metrics.ts`: counters never fall.
 */

import type { Metrics } from './metrics.ts'

/** The part of an engine's statistics that it reads. */
export interface KvTotals {
  readonly numCopiedTails: number
  readonly numSwappedOutBlocks: number
  readonly numSwappedInBlocks: number
  readonly numRestoredTokens: number
  /** Null without a disk cache. */
  readonly tier: {
    readonly numSavedBlocks: number
    readonly numDroppedBlocks: number
    readonly numLoadedBlocks: number
    readonly numBadFiles: number
    readonly bytes: number
    readonly isPaused: boolean
  } | null
}

const COUNTERS = [
  'kvCopiedTails',
  'kvSwappedOutBlocks',
  'kvSwappedInBlocks',
  'kvRestoredTokens',
  'kvDiskSavedBlocks',
  'kvDiskDroppedBlocks',
  'kvDiskLoadedBlocks',
  'kvDiskBadFiles',
] as const

export class KvMetrics {
  readonly #metrics: Metrics
  readonly #labels: { model_name: string; engine: string }
  /** In the order of `COUNTERS`. */
  readonly #last: number[] = COUNTERS.map(() => 0)

  constructor(metrics: Metrics, labels: { model_name: string; engine: string }) {
    this.#metrics = metrics
    this.#labels = labels
    for (const name of COUNTERS) metrics[name].inc(labels, 0)
    this.#setDisk(0, false)
  }

  update({ tier, ...engine }: KvTotals): void {
    const totals = [
      engine.numCopiedTails,
      engine.numSwappedOutBlocks,
      engine.numSwappedInBlocks,
      engine.numRestoredTokens,
      tier?.numSavedBlocks ?? 0,
      tier?.numDroppedBlocks ?? 0,
      tier?.numLoadedBlocks ?? 0,
      tier?.numBadFiles ?? 0,
    ]
    for (const [index, name] of COUNTERS.entries()) {
      const [last = 0, now = 0] = [this.#last[index], totals[index]]
      this.#metrics[name].inc(this.#labels, now >= last ? now - last : now)
      this.#last[index] = now
    }
    this.#setDisk(tier?.bytes ?? 0, tier?.isPaused ?? false)
  }

  /** The engine process ended, and counts from zero when it comes again. */
  stopped(): void {
    this.#last.fill(0)
    this.#setDisk(0, false)
  }

  #setDisk(bytes: number, isPaused: boolean): void {
    this.#metrics.kvDiskBytes.set(this.#labels, bytes)
    this.#metrics.kvDiskPaused.set(this.#labels, isPaused ? 1 : 0)
  }
}
