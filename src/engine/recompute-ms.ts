/** What it would cost to compute tokens again whose KV could be brought back instead. */

import type { StepCostModel } from './step-cost-model.ts'

/** Milliseconds of `numTokens` rows from position `first` on; what every step costs is not counted, for it is shared. */
export function recomputeMs(model: StepCostModel, first: number, numTokens: number): number {
  const numKeys = numTokens * first + (numTokens * (numTokens + 1)) / 2
  return model.tokenMs * numTokens + model.keyMs * numKeys
}
