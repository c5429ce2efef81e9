/**
 * Looks at a dedicated endpoint once a second and sets how many replicas its serving variant has. Owns the timer and the
 * autoscaler's windows. What is wanted is `autoscaler.ts`'s to say, memory `load-queue.ts`'s to give.
 */

import type { Clock } from '../../base/clock.ts'
import type { Timer } from '../../worker/timer.ts'
import { Autoscaler, type LoadSample } from './autoscaler.ts'
import type { AutoscalingSpec } from './endpoint-spec.ts'
import type { ServedVariant } from './served-variant.ts'

export interface EndpointScalingOptions {
  readonly clock: Clock
  readonly timer: Timer
  autoscaling(): AutoscalingSpec
  /** Those that may have replicas. */
  variants(): Iterable<ServedVariant>
}

const EVERY_MS = 1_000

export class EndpointScaling {
  readonly #options: EndpointScalingOptions
  readonly #autoscaler = new Autoscaler()
  #cancel: () => void = () => {}

  constructor(options: EndpointScalingOptions) {
    this.#options = options
    this.#wait()
  }

  stop(): void {
    this.#cancel()
    this.#cancel = () => {}
  }

  #wait(): void {
    this.#cancel = this.#options.timer.after(EVERY_MS, () => {
      this.#look()
      this.#wait()
    })
  }

  #look(): void {
    const spec = this.#options.autoscaling()
    for (const variant of this.#options.variants()) {
      if (variant.phase !== 'ready' || variant.target === 0) continue
      const next = this.#autoscaler.next(sampleOf(variant, this.#options.clock.nowMs()), spec)
      if (next !== variant.target) variant.setTarget(next)
      return
    }
  }
}

function sampleOf(variant: ServedVariant, nowMs: number): LoadSample {
  const stats = variant.replicas.statuses().flatMap((status) => status.stats ?? [])
  const sum = (of: (one: (typeof stats)[number]) => number): number =>
    stats.reduce((total, one) => total + of(one), 0)
  const numBlocks = sum((one) => one.numBlocks)
  const waits = stats.map(({ predictedWaitMs }) => predictedWaitMs)
  return {
    nowMs,
    numReplicas: variant.target,
    numSequences: variant.replicas.numSequences,
    maxNumSeqs: variant.prepared?.maxNumSeqs ?? 1,
    kvUse: numBlocks === 0 ? 0 : 1 - sum((one) => one.numFreeBlocks) / numBlocks,
    queueWaitMs: waits.length === 0 ? 0 : Math.min(...waits),
  }
}
