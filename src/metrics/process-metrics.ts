/**
 * The API process watches itself: event-loop delay and resident memory, read when somebody scrapes.
 *
 * Owns one event-loop histogram, which keeps a timer of `RESOLUTION_MS` running until `stop`. A blocked loop is what
 * makes every stream of a Node server stutter at once, so its 99th percentile is a promise with a test (issue 3).
 */

import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks'
import { Gauge } from 'prom-client'
import type { Metrics } from './metrics.ts'
import { METRIC_NAMES } from './names.ts'

const RESOLUTION_MS = 10
const NANOSECONDS = 1e9

/** Start watching. The returned function stops it; call it when the server closes. */
export function watchProcess(metrics: Metrics): () => void {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  delay.enable()
  const registers = [metrics.registry]
  const loopGauge: Gauge = new Gauge({
    ...METRIC_NAMES.eventLoopDelayP99,
    registers,
    collect: () => loopGauge.set(readAndReset(delay)),
  })
  const memoryGauge: Gauge = new Gauge({
    ...METRIC_NAMES.residentMemory,
    registers,
    collect: () => memoryGauge.set(process.memoryUsage.rss()),
  })
  return () => {
    delay.disable()
  }
}

/** Seconds beyond the timer's own period: Node's histogram holds whole intervals. NaN (no sample yet) reads as 0. */
function readAndReset(delay: IntervalHistogram): number {
  const p99 = delay.percentile(99) / NANOSECONDS
  delay.reset()
  return Number.isFinite(p99) ? Math.max(0, p99 - RESOLUTION_MS / 1000) : 0
}
