/**
 * Ingot's engine as the harness sees it: the real scheduler, executor and kernels in this process, without HTTP and
 * without the process boundary (the HTTP benchmark has both). Owns the loaded engine.
 */

import type { SequenceId } from '../src/base/ids.ts'
import { DEFAULT_SAMPLING_PARAMS, type SamplingParams } from '../src/sampling/sampling-params.ts'
import { loadEngine } from '../src/worker/load-engine.ts'
import type { EngineDescription, EngineOptions } from '../src/worker/messages.ts'
import type { BatchMeasure, BatchRequest, BenchSystem } from './bench-system.ts'

const WHO = { tier: 'default', tenant: 'bench', maxQueueMs: null } as const

export interface IngotSystem extends BenchSystem {
  readonly description: EngineDescription
}

export async function startIngot(options: EngineOptions, version: string): Promise<IngotSystem> {
  const { core, executor, description } = await loadEngine(options)
  let nextId = 1
  return {
    name: 'ingot',
    version: `ingot ${version}, ONNX Runtime ${description.ortVersion}, kernels ${description.kernels}`,
    weights: `source formats, activations ${options.activations}, KV ${options.kvDtype}`,
    description,
    run: async (request: BatchRequest): Promise<BatchMeasure> => {
      const firstId = nextId
      nextId += request.prompts.length
      const counts = new Int32Array(request.prompts.length)
      const cacheDomain = new Int32Array(4)
      const params = greedy(request.outputTokens)
      for (const [index, prompt] of request.prompts.entries()) {
        const id = (firstId + index) as SequenceId
        core.add({ id, promptIds: Int32Array.from(prompt), params, choice: 0, cacheDomain, ...WHO })
      }
      const startMs = performance.now()
      let firstMs = 0
      let tokensAtFirst = 0
      let total = 0
      let numStarted = 0
      while (core.hasWork) {
        const { updates } = await core.step()
        for (const update of updates) {
          if (update.error !== null) throw new Error(update.error.message)
          const index = update.id - firstId
          if (counts[index] === 0 && update.tokenIds.length > 0) numStarted += 1
          counts[index] = (counts[index] ?? 0) + update.tokenIds.length
          total += update.tokenIds.length
        }
        if (firstMs === 0 && numStarted === counts.length) {
          firstMs = performance.now()
          tokensAtFirst = total
        }
      }
      return {
        prefillSeconds: (firstMs - startMs) / 1000,
        decodeSeconds: (performance.now() - firstMs) / 1000,
        decodeTokens: total - tokensAtFirst,
      }
    },
    close: () => executor.close(),
  }
}

function greedy(maxTokens: number): SamplingParams {
  return { ...DEFAULT_SAMPLING_PARAMS, temperature: 0, seed: 0n, maxTokens, ignoreEos: true }
}
