/** Makes native models for tests and runs single steps on them: the least an engine would do, spelled out. */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type {
  NativeBinding,
  NativeModel,
  NativeModelOptions,
  NativeSamplerSpec,
} from '../../native/binding.ts'
import { loadNative, ortLibraryPath } from '../../native/loader.ts'
import { TINY_SHAPE, type TinyFormat, tinyOnnx, VOCAB, writeTinyWeights } from './tiny-llama.ts'

export const BLOCK_SIZE = 16
export const MAX_BLOCKS_PER_SEQ = 8

/** One sequence's rows of a step: tokens from `start` on, its KV in `blocks`. */
export interface TinyRun {
  readonly tokens: readonly number[]
  readonly start: number
  readonly blocks: readonly number[]
  /** Which of the tokens' logits are wanted; default: the last one. */
  readonly logitsOf?: readonly number[]
  /** Slot of the adapter that answers; default: none. */
  readonly adapter?: number
}

export function binding(): NativeBinding {
  return loadNative()
}

export function tinyOptions(changes: Partial<NativeModelOptions> = {}): NativeModelOptions {
  return {
    ortLibrary: ortLibraryPath(),
    threads: 2,
    activations: 'f32',
    kvDtype: 'f32',
    blockSize: BLOCK_SIZE,
    numBlocks: 64,
    maxNumBatchedTokens: 256,
    maxNumSeqs: 16,
    maxBlocksPerSeq: MAX_BLOCKS_PER_SEQ,
    maxLogitsRows: 64,
    ...TINY_SHAPE,
    ...changes,
  }
}

/** A folder that lives as long as the test file. */
export function scratchFolder(): { path: string; remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), 'ingot-native-'))
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}

/** A model of the tiny llama, ready to step. */
export async function readyModel(
  folder: string,
  format: TinyFormat,
  changes: Partial<NativeModelOptions> = {},
): Promise<NativeModel> {
  const model = new (binding().Model)(tinyOptions(changes))
  await model.loadWeights(writeTinyWeights(join(folder, `${format}.bin`), format))
  await model.createSession(tinyOnnx())
  return model
}

/** Fill the arrays for `runs` and step. Returns the wanted logits rows, copied, in order. */
export async function stepRuns(
  model: NativeModel,
  runs: readonly TinyRun[],
): Promise<Float32Array[]> {
  const { buffers } = model
  let row = 0
  let wanted = 0
  buffers.queryStarts[0] = 0
  runs.forEach((run, index) => {
    for (const row of run.logitsOf ?? [run.tokens.length - 1]) {
      buffers.logitsRows[wanted] = buffers.queryStarts[index]! + row
      buffers.samplerSlots[wanted] = -1
      buffers.targetIds[wanted] = -1
      buffers.topLogprobCounts[wanted] = -1
      wanted += 1
    }
    run.tokens.forEach((token, at) => {
      const position = run.start + at
      buffers.tokenIds[row] = token
      buffers.positions[row] = position
      buffers.adapterRows[row] = run.adapter ?? 0
      buffers.slotMapping[row] =
        run.blocks[Math.floor(position / BLOCK_SIZE)]! * BLOCK_SIZE + (position % BLOCK_SIZE)
      row += 1
    })
    buffers.queryStarts[index + 1] = row
    buffers.contextLengths[index] = run.start + run.tokens.length
    for (let block = 0; block < MAX_BLOCKS_PER_SEQ; block++)
      buffers.blockTables[index * MAX_BLOCKS_PER_SEQ + block] = run.blocks[block] ?? 0
  })
  await model.step(row, runs.length, wanted)
  return Array.from({ length: wanted }, (_, index) =>
    buffers.logits.slice(index * VOCAB, (index + 1) * VOCAB),
  )
}

export function greedySpec(changes: Partial<NativeSamplerSpec> = {}): NativeSamplerSpec {
  return {
    temperature: 0,
    topP: 1,
    topK: 0,
    minP: 0,
    presencePenalty: 0,
    frequencyPenalty: 0,
    repetitionPenalty: 1,
    seed: 0n,
    choice: 0,
    stopTokenIds: new Int32Array(),
    minTokens: 0,
    logitBiasIds: new Int32Array(),
    logitBiasValues: new Float32Array(),
    promptIds: new Int32Array(),
    outputIds: new Int32Array(),
    ...changes,
  }
}
