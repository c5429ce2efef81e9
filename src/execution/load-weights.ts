/**
 * Brings a graph's weights into a native model: from the pack cache where they were packed before, through it where they
 * were not, and into memory alone where there is no cache or it cannot be used. The answer is the same on each way.
 *
 *   pack there? ──▶ map it ──┬─ whole ──▶ done
 *        │                   └─ not, or another version's ──▶ remove it, and
 *        └─ no ──▶ room on the disk? ──▶ pack into a file, one weight at a time, map it ──▶ done
 *                        └─ no, or writing fails ──▶ pack into memory, with a warning
 */

import type { NativeModel } from '../../native/binding.ts'
import type { GraphWeight } from '../graph/graph.ts'
import { nativeWeight, weightBytes } from './native-weights.ts'
import {
  isThere,
  makeRoom,
  markUsed,
  type PackFile,
  type PackFolder,
  packFile,
  remove,
  whyNoRoom,
} from './pack-cache.ts'

export interface PackOptions extends PackFolder {
  /** sha256 of the checkpoint. */
  readonly modelDigest: string
}

export interface LoadWeightsOptions {
  readonly weights: readonly GraphWeight[]
  /** `null` = no cache. */
  readonly packs: PackOptions | null
  /** About what the packed weights will take. */
  readonly packedBytes: number
  readonly kernels: string
  readonly onProgress?: ((fraction: number) => void) | undefined
  /** For people: why the cache was not used. */
  readonly onWarning?: ((message: string) => void) | undefined
  nowMs(): number
}

/** Packed between two reports of progress: about a tenth of a second's work. */
const GROUP_BYTES = 32 * 2 ** 20

type Native = Pick<NativeModel, 'loadWeights' | 'openPack' | 'beginPack' | 'endPack'>

/** @returns how the weights are held. Rejects with the addon's errors */
export async function loadWeights(
  model: Native,
  options: LoadWeightsOptions,
): Promise<'mapped' | 'packed' | 'memory'> {
  const { packs, kernels, onWarning } = options
  const isConstant = ({ kind }: GraphWeight) => kind === 'constant'
  await model.loadWeights(options.weights.filter(isConstant).map(nativeWeight))
  const weights = options.weights.filter((weight) => !isConstant(weight))
  const load = () => loadGroups(model, weights, options.onProgress)
  if (packs === null || packs.limitBytes === 0) {
    await load()
    return 'memory'
  }
  const file = packFile(packs, packs.modelDigest, kernels, weights)
  if (await tryOpen(model, file, onWarning)) return 'mapped'
  const problem = await whyNoRoom(packs, options.packedBytes)
  if (problem !== null) onWarning?.(`packed weights are not kept: ${problem}`)
  else if (await tryPack(model, file, load, onWarning)) {
    await makeRoom(packs, file, options.nowMs()).catch(() => {})
    return 'packed'
  }
  await load()
  return 'memory'
}

async function tryOpen(
  model: Native,
  file: PackFile,
  onWarning: LoadWeightsOptions['onWarning'],
): Promise<boolean> {
  if (!(await isThere(file))) return false
  try {
    await model.openPack(file.path, file.key)
    await markUsed(file)
    return true
  } catch (cause) {
    if (!isBadPack(cause)) throw cause
    onWarning?.(`packed weights are made anew: ${cause.message}`)
    await remove(file).catch(() => {})
    return false
  }
}

async function tryPack(
  model: Native,
  file: PackFile,
  load: () => Promise<void>,
  onWarning: LoadWeightsOptions['onWarning'],
): Promise<boolean> {
  try {
    await model.beginPack(file.path, file.key)
    await load()
    await model.endPack(file.path, file.key)
    return true
  } catch (cause) {
    if (!isBadPack(cause)) throw cause
    onWarning?.(`packed weights are not kept: ${cause.message}`)
    return false
  }
}

/** In groups, so that a large checkpoint shows how far it is. */
async function loadGroups(
  model: Native,
  weights: readonly GraphWeight[],
  onProgress: LoadWeightsOptions['onProgress'],
): Promise<void> {
  const totalBytes = weights.reduce((sum, weight) => sum + weightBytes(weight), 0)
  let doneBytes = 0
  let group: GraphWeight[] = []
  let groupBytes = 0
  for (const [index, weight] of weights.entries()) {
    group.push(weight)
    groupBytes += weightBytes(weight)
    if (groupBytes < GROUP_BYTES && index + 1 < weights.length) continue
    await model.loadWeights(group.map(nativeWeight))
    doneBytes += groupBytes
    onProgress?.(doneBytes / totalBytes)
    group = []
    groupBytes = 0
  }
}

function isBadPack(cause: unknown): cause is Error {
  return cause instanceof Error && 'code' in cause && cause.code === 'NATIVE_BAD_PACK'
}
