/** The executors that the conformance suite runs on, each with its model and with what it says it cannot do. */

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../../src/base/clock.ts'
import { kvBytesPerToken } from '../../src/base/kv-dtype.ts'
import { EngineCore } from '../../src/engine/engine-core.ts'
import type { EngineOptions } from '../../src/worker/messages.ts'
import { FakeExecutor, makeLimits } from './fake-executor.ts'
import { writeGguf } from './gguf-writer.ts'
import { type RunningEngine, withEngine } from './run-engine.ts'
import { type ExportedShape, writeGenaiFolder, writeOptimumFolder } from './tiny-exported.ts'
import { TINY_LLAMA, type TinyLlamaShape, tinyLlamaGguf } from './tiny-llama-gguf.ts'

export const ADDON: URL = new URL('../../native/ingot.node', import.meta.url)
const SEED = 20_261_123

/** Tests of the suite that an executor may not be able to pass, by the capability that they need. */
export type Capability = 'threads' | 'prefixReuse' | 'drafts'

export interface ExecutorCase {
  readonly name: string
  readonly options: Pick<EngineOptions, 'activations' | 'kvDtype'>
  readonly vocabSize: number
  /** Sequences to try; fewer where each runs by itself. */
  readonly numSeqs: number
  /** K and V of one token, as the executor counts its memory. */
  readonly kvBytesPerToken: number
  /** Why, by what it cannot do. */
  readonly skips: Readonly<Partial<Record<Capability, string>>>
  /** Whether it needs the built addon. */
  readonly isNative: boolean
  /** Write its checkpoint into a folder. @returns the path to open */
  write(folder: string): Promise<string>
  withEngine<T>(options: EngineOptions, use: (engine: RunningEngine) => Promise<T>): Promise<T>
}

function nativeCase(
  name: string,
  shape: Partial<TinyLlamaShape>,
  options: ExecutorCase['options'],
): ExecutorCase {
  const tiny = { ...TINY_LLAMA, ...shape }
  const layers = Array.from({ length: tiny.numLayers }, () => tiny)
  return {
    name: `native, ${name}`,
    options,
    vocabSize: tiny.vocabSize,
    numSeqs: 64,
    kvBytesPerToken: kvBytesPerToken(layers, options.kvDtype),
    skips: {},
    isNative: true,
    async write(folder) {
      const file = join(folder, 'tiny.gguf')
      await writeGguf(file, tinyLlamaGguf(tiny, SEED))
      return file
    },
    withEngine,
  }
}

const EXPORTED_SKIPS: ExecutorCase['skips'] = {
  threads: 'stock kernels may sum in another order with other threads',
  prefixReuse: 'KV is dense and belongs to one sequence',
  drafts: 'each row of an answer is a run of its own, so a guess saves nothing',
}

function exportedCase(
  name: string,
  layout: 'optimum' | 'genai',
  change: Partial<ExportedShape>,
): ExecutorCase {
  // Two layers of two heads of 16; a concatenating graph holds past and present.
  const copies = layout === 'genai' ? 1 : 2
  const elementBytes = change.type === 'f16' ? 2 : 4
  return {
    name: `exported, ${name}`,
    options: { activations: 'f32', kvDtype: 'f32' },
    vocabSize: 96,
    numSeqs: 20,
    kvBytesPerToken: 2 * 2 * 2 * 16 * elementBytes * copies,
    skips: EXPORTED_SKIPS,
    isNative: true,
    write: (folder) =>
      layout === 'genai' ? writeGenaiFolder(folder, change) : writeOptimumFolder(folder, change),
    withEngine,
  }
}

const fakeCase: ExecutorCase = {
  name: 'fake',
  options: { activations: 'f32', kvDtype: 'f32' },
  vocabSize: 320,
  numSeqs: 64,
  kvBytesPerToken: 1,
  skips: { threads: 'it computes nothing', drafts: 'its tokens never repeat' },
  isNative: false,
  write: async (folder) => folder,
  withEngine(options, use) {
    const { blockSize, maxNumSeqs, maxNumBatchedTokens, maxContextTokens } = options
    const limits = makeLimits({
      blockSize,
      maxNumSeqs,
      maxNumBatchedTokens,
      maxBlocksPerSeq: Math.ceil(maxContextTokens / blockSize),
      maxLogitsRows: maxNumSeqs + maxNumBatchedTokens,
      numBlocks: Math.floor(options.kvMemoryBytes / blockSize),
      vocabSize: 320,
    })
    const { eosTokenIds, scheduling } = options
    const executor = new FakeExecutor(limits)
    const rest = { clock: systemClock, maxContextTokens, eosTokenIds, scheduling }
    return use({ core: new EngineCore({ executor, ...rest, hashKey: [1, 2] }) })
  },
}

const all: readonly ExecutorCase[] = [
  fakeCase,
  nativeCase(
    'Q4_1, int8 activations, f32 KV',
    { format: 'Q4_1' },
    { activations: 'int8', kvDtype: 'f32' },
  ),
  nativeCase(
    'Q8_0, int8 activations, bf16 KV, biases, rope factors',
    { format: 'Q8_0', hasBiases: true, hasRopeFactors: true, isTied: false },
    { activations: 'int8', kvDtype: 'bf16' },
  ),
  nativeCase(
    'Q4_1, f32 activations, f32 KV',
    { format: 'Q4_1' },
    { activations: 'f32', kvDtype: 'f32' },
  ),
  nativeCase(
    'F32, f32 activations, bf16 KV',
    { format: 'F32', numKvHeads: 3 },
    { activations: 'f32', kvDtype: 'bf16' },
  ),
  nativeCase(
    'Q4_1, int8 activations, int8 KV',
    { format: 'Q4_1' },
    { activations: 'int8', kvDtype: 'int8' },
  ),
  exportedCase('Optimum, concatenated past', 'optimum', {}),
  exportedCase('Optimum, f16 cache and logits', 'optimum', { type: 'f16' }),
  exportedCase('Optimum, merged, prompt in one run', 'optimum', {
    hasCacheBranch: true,
    masksOnlyWithoutPast: true,
  }),
  exportedCase('Optimum, logits of the last row only', 'optimum', { logits: 'last' }),
  exportedCase('genai, shared buffer, logits as asked', 'genai', { logits: 'asked' }),
]

/** Those that can run here. */
export const executorCases: readonly ExecutorCase[] = all.filter(
  ({ isNative }) => !isNative || existsSync(ADDON),
)
/** Names of the others. */
export const unbuiltCases: readonly string[] = all
  .filter((executor) => !executorCases.includes(executor))
  .map(({ name }) => name)
