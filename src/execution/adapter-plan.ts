/**
 * Where each matrix of an adapter goes in a model's graph, or why it cannot. Pure; reads no bytes.
 *
 * P1 Every module of the adapter has its place: one that the model does not have, or that no node adds deltas to, is
 *    refused by its name, never left out.
 */

import type { AdapterModules } from '../../models/model-definition.ts'
import type { AdapterCheckpoint, AdapterModule } from '../checkpoint/adapter/adapter-reader.ts'
import type { LinearOutputs } from '../graph/linear-outputs.ts'
import { executionError } from './errors.ts'

/** What of a model adapters can change. */
export interface AdapterTargets {
  readonly modelType: string
  readonly modules: AdapterModules
  /** By the tensor's name. */
  readonly outputs: ReadonlyMap<string, LinearOutputs>
}

export interface PlannedDelta {
  readonly module: AdapterModule
  readonly target: LinearOutputs
  readonly outputOrder: Int32Array | null
}

/** @throws ServingError EXECUTION_ADAPTER_MODULE, EXECUTION_ADAPTER_SHAPE, EXECUTION_ADAPTER_RANK */
export function planAdapter(
  adapter: AdapterCheckpoint,
  targets: AdapterTargets,
  maxRank: number,
): readonly PlannedDelta[] {
  return adapter.modules.map((module) => {
    const stored = targets.modules.get(module.name)
    const target = stored === undefined ? undefined : targets.outputs.get(stored.tensor)
    if (stored === undefined || target === undefined) {
      const supported = supportedModules(targets)
      const { modelType } = targets
      throw executionError('EXECUTION_ADAPTER_MODULE', {
        details: { file: adapter.file, module: shortened(module.name), modelType, supported },
      })
    }
    checkShape(adapter.file, module, target, targets.modelType)
    if (module.rank > maxRank) {
      const details = { file: adapter.file, module: module.name, rank: module.rank, maxRank }
      throw executionError('EXECUTION_ADAPTER_RANK', { param: '--max-lora-rank', details })
    }
    return { module, target, outputOrder: stored.outputOrder }
  })
}

function checkShape(
  file: string,
  { name, down, up }: AdapterModule,
  { inputs, outputs }: LinearOutputs,
  modelType: string,
): void {
  if (down.shape[1] === inputs && up.shape[0] === outputs) return
  const expected = `${inputs} inputs and ${outputs} outputs`
  const got = `${down.shape[1]} and ${up.shape[0]}`
  throw executionError('EXECUTION_ADAPTER_SHAPE', {
    details: { file, module: name, modelType, expected, got },
  })
}

/** `q_proj, k_proj, …`: the last words of the modules that have a place, each once. */
function supportedModules({ modules, outputs }: AdapterTargets): string {
  const words = [...modules]
    .filter(([, { tensor }]) => outputs.has(tensor))
    .map(([name]) => name.slice(name.lastIndexOf('.') + 1))
  return [...new Set(words)].join(', ') || 'none'
}

function shortened(name: string): string {
  return name.length <= 200 ? name : `${name.slice(0, 200)}…`
}
