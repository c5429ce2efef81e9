/**
 * Ingot's engine as the harness sees it: the real scheduler, executor and kernels in this process, without HTTP and
 * without the process boundary (the HTTP benchmark has both). Owns the loaded engine.
 */

import type { SequenceId } from '../src/base/ids.ts'
import type { EngineCore } from '../src/engine/engine-core.ts'
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
    run: (request) => {
      const firstId = nextId
      nextId += request.prompts.length + (request.late?.length ?? 0)
      return runBatch(core, request, firstId)
    },
    close: () => executor.close(),
  }
}

async function runBatch(
  core: EngineCore,
  request: BatchRequest,
  firstId: number,
): Promise<BatchMeasure> {
  const { prompts, late = [] } = request
  const counts = new Int32Array(prompts.length + late.length)
  const add = (prompt: readonly number[], index: number, maxTokens: number) => {
    const what = { id: (firstId + index) as SequenceId, promptIds: Int32Array.from(prompt) }
    const params = greedy(maxTokens)
    core.add({ ...what, params, choice: 0, cacheDomain: new Int32Array(4), ...WHO })
  }
  for (const [index, prompt] of prompts.entries()) add(prompt, index, request.outputTokens)
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
    if (firstMs === 0 && numStarted === prompts.length) {
      firstMs = performance.now()
      tokensAtFirst = total
      for (const [index, prompt] of late.entries()) add(prompt, prompts.length + index, 1)
    }
  }
  return {
    prefillSeconds: (firstMs - startMs) / 1000,
    decodeSeconds: (performance.now() - firstMs) / 1000,
    decodeTokens: total - tokensAtFirst,
  }
}

function greedy(maxTokens: number): SamplingParams {
  return { ...DEFAULT_SAMPLING_PARAMS, temperature: 0, seed: 0n, maxTokens, ignoreEos: true }
}
