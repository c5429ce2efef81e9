/**
 * Turns what an engine says of itself after a step into its metrics. One object a replica, kept by `deployment`.
 *
 * Owns the totals last seen, because an engine reports running totals and a counter wants increases. Does not know
 * processes or messages.
 *
 * I1 counters never fall: totals lower than the last ones mean that the engine was started again, and count from zero.
 */

import { KvMetrics, type KvTotals } from './kv-metrics.ts'
import type { Metrics } from './metrics.ts'

/** The part of an engine's statistics that becomes metrics; `EngineStats` of `worker/messages.ts` has it. */
export interface EngineTotals extends KvTotals {
  readonly numRunning: number
  readonly numWaiting: number
  readonly numFreeBlocks: number
  readonly numBlocks: number
  readonly numSteps: number
  readonly numPreemptions: number
  readonly numScheduledTokens: number
  readonly numDraftTokens: number
  readonly numAcceptedDrafts: number
  readonly rssBytes: number
}

export class EngineMetrics {
  readonly #metrics: Metrics
  readonly #labels: { model_name: string; engine: string }
  readonly #kv: KvMetrics
  #numSteps = 0
  #numPreemptions = 0
  #numDraftTokens = 0
  #numAcceptedDrafts = 0

  /** @param replica - index of the replica within its deployment */
  constructor(metrics: Metrics, modelName: string, replica: number) {
    this.#metrics = metrics
    this.#labels = { model_name: modelName, engine: String(replica) }
    this.#kv = new KvMetrics(metrics, this.#labels)
    this.stopped()
    metrics.numPreemptions.inc(this.#labels, 0)
    metrics.replicaRestarts.inc(this.#labels, 0)
    metrics.engineSteps.inc(this.#labels, 0)
    metrics.draftTokens.inc(this.#labels, 0)
    metrics.acceptedDraftTokens.inc(this.#labels, 0)
  }

  /** After each step message and each pong. Cost: a few map look-ups. */
  update(totals: EngineTotals): void {
    const { numFreeBlocks, numBlocks } = totals
    this.#metrics.numRequestsRunning.set(this.#labels, totals.numRunning)
    this.#metrics.numRequestsWaiting.set(this.#labels, totals.numWaiting)
    this.#metrics.kvCacheUsage.set(
      this.#labels,
      numBlocks === 0 ? 0 : (numBlocks - numFreeBlocks) / numBlocks,
    )
    this.#metrics.engineResidentMemory.set(this.#labels, totals.rssBytes)
    const numNewSteps = increase(this.#numSteps, totals.numSteps)
    this.#metrics.engineSteps.inc(this.#labels, numNewSteps)
    this.#metrics.numPreemptions.inc(
      this.#labels,
      increase(this.#numPreemptions, totals.numPreemptions),
    )
    if (numNewSteps > 0)
      this.#metrics.iterationTokens.observe(this.#labels, totals.numScheduledTokens)
    this.#numSteps = totals.numSteps
    this.#numPreemptions = totals.numPreemptions
    this.#countDrafts(totals)
    this.#kv.update(totals)
  }

  #countDrafts({ numDraftTokens, numAcceptedDrafts }: EngineTotals): void {
    const { draftTokens, acceptedDraftTokens } = this.#metrics
    draftTokens.inc(this.#labels, increase(this.#numDraftTokens, numDraftTokens))
    acceptedDraftTokens.inc(this.#labels, increase(this.#numAcceptedDrafts, numAcceptedDrafts))
    this.#numDraftTokens = numDraftTokens
    this.#numAcceptedDrafts = numAcceptedDrafts
  }

  /** The engine process ended: nothing runs, and its memory is gone. */
  stopped(): void {
    this.#metrics.numRequestsRunning.set(this.#labels, 0)
    this.#metrics.numRequestsWaiting.set(this.#labels, 0)
    this.#metrics.kvCacheUsage.set(this.#labels, 0)
    this.#metrics.engineResidentMemory.set(this.#labels, 0)
    this.#numSteps = 0
    this.#numPreemptions = 0
    this.#numDraftTokens = 0
    this.#numAcceptedDrafts = 0
    this.#kv.stopped()
  }

  /** The supervisor started the engine process again. */
  restarted(): void {
    this.#metrics.replicaRestarts.inc(this.#labels)
  }
}

function increase(last: number, now: number): number {
  return now >= last ? now - last : now
}
