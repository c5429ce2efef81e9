/** How fast engines that answer alike let waiting sequences in, from what each last predicted. Pure. */

import type { EngineStats } from '../worker/messages.ts'

type Predicted = Pick<EngineStats, 'predictedWaitMs' | 'numWaiting'>

/** Milliseconds until one more is let in, of all engines side by side; null while none predicts a wait. */
export function admissionPace(engines: readonly (Predicted | null)[]): number | null {
  let perMs = 0
  for (const stats of engines) {
    // One that came now would be let in last of those that wait.
    const intervalMs = stats === null ? 0 : stats.predictedWaitMs / (stats.numWaiting + 1)
    if (intervalMs > 0) perMs += 1 / intervalMs
  }
  return perMs === 0 ? null : 1 / perMs
}
