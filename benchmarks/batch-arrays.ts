/** The arrays of a step in JavaScript's memory, for executors that compute nothing: the simulator's and the tests'. */

import type { BatchArrays, BatchLimits } from '../src/engine/executor.ts'
import { MAX_TOP_LOGPROBS } from '../src/sampling/sampling-params.ts'

export function makeArrays(limits: BatchLimits): BatchArrays {
  const { maxNumBatchedTokens: maxT, maxNumSeqs: maxB, maxLogitsRows: maxL } = limits
  return {
    tokenIds: new Int32Array(maxT),
    positions: new Int32Array(maxT),
    slotMapping: new Int32Array(maxT),
    queryStarts: new Int32Array(maxB + 1),
    contextLengths: new Int32Array(maxB),
    sequenceSlots: new Int32Array(maxB),
    blockTables: new Int32Array(maxB * limits.maxBlocksPerSeq),
    logitsRows: new Int32Array(maxL),
    adapterRows: new Int32Array(maxT),
    samplerSlots: new Int32Array(maxL),
    samplePositions: new Int32Array(maxL),
    targetIds: new Int32Array(maxL),
    topLogprobCounts: new Int32Array(maxL),
    sampledIds: new Int32Array(maxL),
    sampledLogprobs: new Float32Array(maxL),
    sampledRanks: new Int32Array(maxL),
    topIds: new Int32Array(maxL * MAX_TOP_LOGPROBS),
    topLogprobs: new Float32Array(maxL * MAX_TOP_LOGPROBS),
  }
}
