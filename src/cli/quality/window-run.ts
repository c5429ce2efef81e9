/**
 * Runs one window of tokens through an engine's executor and hands out the logits of every position: the plain paged path,
 * batch 1, from an empty cache. Owns nothing; the engine's scheduler must not run meanwhile.
 */

import type { OpenedExecutor } from '../../execution/executor-facts.ts'

/** Rows computed in one step at most: many enough for speed, few enough for their logits. */
const MOST_ROWS = 256

/** Steps that cover a window, the same for every engine with these limits. */
export function stepRows(executors: readonly OpenedExecutor[]): number {
  const most = executors.map(({ limits }) =>
    Math.min(limits.maxLogitsRows, limits.maxNumBatchedTokens),
  )
  return Math.min(MOST_ROWS, ...most)
}

/**
 * Compute `tokens[start, end)` of one sequence whose earlier tokens were computed before.
 *
 * @param wantsAll - logits of all rows; else of the last one
 */
export async function runRows(
  executor: OpenedExecutor,
  tokens: Int32Array,
  start: number,
  end: number,
  wantsAll: boolean,
): Promise<void> {
  const { arrays, limits } = executor
  const numRows = end - start
  for (let row = 0; row < numRows; row++) {
    arrays.tokenIds[row] = tokens[start + row] ?? 0
    arrays.positions[row] = start + row
    arrays.slotMapping[row] = start + row // blocks in order
  }
  arrays.queryStarts[0] = 0
  arrays.queryStarts[1] = numRows
  arrays.contextLengths[0] = end
  arrays.sequenceSlots[0] = 0
  for (let block = 0; block < Math.ceil(end / limits.blockSize); block++) {
    arrays.blockTables[block] = block
  }
  const numLogits = wantsAll ? numRows : 1
  for (let row = 0; row < numLogits; row++) {
    arrays.logitsRows[row] = wantsAll ? row : numRows - 1
    arrays.samplerSlots[row] = -1
    arrays.samplePositions[row] = start + row
    arrays.targetIds[row] = -1
    arrays.topLogprobCounts[row] = -1
  }
  await executor.execute(numRows, 1, numLogits)
}

/** Logits of a row of the last step. */
export function logitsRow({ logits, limits }: OpenedExecutor, row: number): Float32Array {
  return logits.subarray(row * limits.vocabSize, (row + 1) * limits.vocabSize)
}
