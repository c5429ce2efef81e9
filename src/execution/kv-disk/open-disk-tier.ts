/**
 * The disk cache of an executor, or none: everything that the bits of its blocks depend on is put together here. Owns
 * nothing once it has returned.
 */

import { NATIVE_ABI } from '../../../native/binding.ts'
import type { Clock } from '../../base/clock.ts'
import type { KvDtype } from '../../base/kv-dtype.ts'
import type { WeightsChoice } from '../../base/weights-choice.ts'
import type { OpenedExecutor } from '../executor-facts.ts'
import { DiskTier } from './disk-tier.ts'
import { openKvFiles } from './kv-files.ts'
import { configurationFolder } from './kv-name.ts'

/** The part of an engine's options that it heeds. */
export interface KvDiskOptions {
  /** Absent = none. */
  readonly kvDisk?: {
    readonly folder: string
    readonly limitBytes: number
    readonly modelDigest: string
    /** Ingot's own: another one may compute other bits. */
    readonly version: string
  }
  readonly weights?: WeightsChoice
  readonly activations: string
  readonly kvDtype: KvDtype
  readonly blockSize: number
  readonly scheduling: { readonly prefixCache: boolean }
}

/** @returns null where none is asked for, or the executor's KV does not lie in blocks that are found again */
export async function openDiskTier(
  options: KvDiskOptions,
  { kvBlocks, capabilities, facts }: OpenedExecutor,
  clock: Clock,
  onWarning: (message: string) => void,
): Promise<DiskTier | null> {
  const { kvDisk, scheduling, weights, activations, kvDtype, blockSize } = options
  const canKeep = kvBlocks !== null && capabilities.supportsPrefixReuse && scheduling.prefixCache
  if (kvDisk === undefined || !canKeep) return null
  const { folder, limitBytes, modelDigest, version } = kvDisk
  const { blockBytes } = kvBlocks
  const { kernels } = facts
  const configuration = configurationFolder({
    ...{ modelDigest, weights: weights ?? null, activations, kvDtype },
    ...{ blockSize, blockBytes, kernels, version, abi: NATIVE_ABI },
  })
  return DiskTier.open({
    files: openKvFiles(folder),
    ...{ limitBytes, blockBytes, configuration, clock, onWarning },
  })
}
