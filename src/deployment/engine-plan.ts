/**
 * Decides what only the model's own facts can decide: KV memory and context. Pure; every decision keeps its reason.
 *
 *   free memory  ├─ weights × 1.3 ─┼─ 512 MiB for the rest ─┼─ a quarter: KV ─┼ a sixteenth: swaps ┼─ left to the machine ─┤
 *
 * Knows geometry in numbers, not architectures.
 */

import type { Hardware } from '../config/hardware.ts'
import { formatBytes } from '../config/option.ts'
import type { Choice, EngineConfig } from '../config/runtime-config.ts'
import { deploymentError } from './errors.ts'

export interface PlanFacts {
  readonly weightsBytes: number
  /** Bytes of K and V of one token over all layers, in the type of the configuration. */
  readonly kvBytesPerToken: number
  /** What the checkpoint allows. */
  readonly maxContextTokens: number
}

export interface EnginePlan {
  readonly kvMemoryBytes: number
  readonly swapBytes: number
  readonly maxContextTokens: number
  /** Replaces the lines of the same keys in the configuration's table. */
  readonly choices: readonly Choice[]
}

/** Packed weights beside the mapped file while it is read; the promise of issue 3 on resident memory. */
export const WEIGHTS_FACTOR = 1.3
export const RESERVE_BYTES: number = 512 * 2 ** 20
const KV_SHARE = 0.25
/** Of the KV memory. Enough for the few that are put out at a time, and of the machine's memory a sixteenth at most. */
const SWAP_SHARE = 0.25
/** Below this a chat's system prompt and a short answer have no room. */
const MIN_CONTEXT_TOKENS = 256

/**
 * @throws ServingError DEPLOYMENT_KV_MEMORY_TOO_SMALL, DEPLOYMENT_CONTEXT_TOO_LARGE
 */
export function planEngine(
  config: EngineConfig,
  facts: PlanFacts,
  hardware: Pick<Hardware, 'freeMemoryBytes' | 'memoryReason'>,
): EnginePlan {
  const wanted = config.maxContextTokens
  if (wanted !== null && wanted > facts.maxContextTokens) {
    throw contextTooLarge(wanted, facts.maxContextTokens, 'the checkpoint allows')
  }
  const context = wanted ?? facts.maxContextTokens
  const blockBytes = facts.kvBytesPerToken * config.blockSize
  const memory =
    config.kvMemoryBytes === null
      ? autoKvMemory(config, facts, hardware, context)
      : { bytes: config.kvMemoryBytes, reason: null }
  const capacity = Math.floor(memory.bytes / blockBytes) * config.blockSize
  const minTokens = Math.min(context, MIN_CONTEXT_TOKENS)
  if (capacity < minTokens) {
    const needed = formatBytes(Math.ceil(minTokens / config.blockSize) * blockBytes)
    throw deploymentError('DEPLOYMENT_KV_MEMORY_TOO_SMALL', {
      param: '--kv-memory',
      details: {
        minTokens,
        needed,
        got: formatBytes(memory.bytes),
        reason: memory.reason ?? 'as configured',
        next: `give --kv-memory ${needed.replace(' ', '')} or more, or free some memory`,
      },
    })
  }
  if (wanted !== null && wanted > capacity) {
    const limitedBy = `${formatBytes(memory.bytes)} of KV memory can hold`
    throw contextTooLarge(wanted, capacity, limitedBy)
  }
  const maxContextTokens = Math.min(context, capacity)
  const choices: Choice[] = []
  if (memory.reason !== null) {
    const value = formatBytes(memory.bytes)
    choices.push({ key: 'engine.kvMemory', value, reason: memory.reason, origin: 'auto' })
  }
  if (wanted === null) {
    const reason = maxContextTokens < context ? 'what the KV memory can hold' : 'of the checkpoint'
    const value = String(maxContextTokens)
    choices.push({ key: 'engine.maxContext', value, reason, origin: 'auto' })
  }
  const swapBytes = config.swapBytes ?? Math.floor(memory.bytes * SWAP_SHARE)
  if (config.swapBytes === null) {
    const reason = 'a quarter of the KV memory, taken when it is first used'
    const value = formatBytes(swapBytes)
    choices.push({ key: 'engine.swapSpace', value, reason, origin: 'auto' })
  }
  return { kvMemoryBytes: memory.bytes, swapBytes, maxContextTokens, choices }
}

function autoKvMemory(
  config: EngineConfig,
  facts: PlanFacts,
  hardware: Pick<Hardware, 'freeMemoryBytes' | 'memoryReason'>,
  context: number,
): { bytes: number; reason: string } {
  const blockBytes = facts.kvBytesPerToken * config.blockSize
  const left = hardware.freeMemoryBytes - facts.weightsBytes * WEIGHTS_FACTOR - RESERVE_BYTES
  const share = Math.floor((Math.max(0, left) * KV_SHARE) / blockBytes) * blockBytes
  const blocksPerSequence = Math.ceil(context / config.blockSize)
  const need = blocksPerSequence * blockBytes * config.maxNumSeqs
  if (need <= share) {
    const reason = `all that ${config.maxNumSeqs} sequences of ${context} tokens can use`
    return { bytes: need, reason }
  }
  const free = formatBytes(hardware.freeMemoryBytes)
  const reason = `a quarter of the ${free} of ${hardware.memoryReason}, less weights and reserve`
  return { bytes: share, reason }
}

function contextTooLarge(got: number, limit: number, limitedBy: string): Error {
  return deploymentError('DEPLOYMENT_CONTEXT_TOO_LARGE', {
    param: '--max-context',
    details: { got, limit, limitedBy },
  })
}
