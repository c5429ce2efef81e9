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
  /** As little KV as it can be served with: one whole context, or all where it was configured. */
  readonly minKvMemoryBytes: number
  /** Replaces the lines of the same keys in the configuration's table. */
  readonly choices: readonly Choice[]
}

/** How automatic KV memory is cut out of what there is. */
export interface MemoryRule {
  /** Of the weights' own size. */
  readonly weightsFactor: number
  readonly reserveBytes: number
  /** Of what is left beside weights and reserve. */
  readonly kvShare: number
  /** The most of what is left that one whole context may take where the share is too little for it. */
  readonly contextShare: number
  /** What the share is called in the reason. */
  readonly words: string
}

/** Packed weights beside the mapped file while it is read; the promise of issue 3 on resident memory. */
export const WEIGHTS_FACTOR = 1.3
export const RESERVE_BYTES: number = 512 * 2 ** 20
/** Of the KV memory. Enough for the few that are put out at a time, and of the machine's memory a sixteenth at most. */
export const SWAP_SHARE = 0.25
/** For a model that has the machine for itself. */
export const MACHINE_RULE: MemoryRule = {
  weightsFactor: WEIGHTS_FACTOR,
  reserveBytes: RESERVE_BYTES,
  kvShare: 0.25,
  contextShare: 0.25,
  words: 'a quarter',
}
/** Below this a chat's system prompt and a short answer have no room. */
const MIN_CONTEXT_TOKENS = 256

/**
 * @throws ServingError DEPLOYMENT_KV_MEMORY_TOO_SMALL, DEPLOYMENT_CONTEXT_TOO_LARGE
 */
export function planEngine(
  config: EngineConfig,
  facts: PlanFacts,
  hardware: Pick<Hardware, 'freeMemoryBytes' | 'memoryReason'>,
  rule: MemoryRule = MACHINE_RULE,
): EnginePlan {
  const wanted = config.maxContextTokens
  if (wanted !== null && wanted > facts.maxContextTokens) {
    throw contextTooLarge(wanted, facts.maxContextTokens, 'the checkpoint allows')
  }
  const context = wanted ?? facts.maxContextTokens
  const blockBytes = facts.kvBytesPerToken * config.blockSize
  const memory =
    config.kvMemoryBytes === null
      ? autoKvMemory(config, facts, { hardware, rule, context })
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
  const contextBytes = Math.ceil(maxContextTokens / config.blockSize) * blockBytes
  const minKvMemoryBytes =
    memory.reason === null ? memory.bytes : Math.min(memory.bytes, contextBytes)
  return { kvMemoryBytes: memory.bytes, minKvMemoryBytes, swapBytes, maxContextTokens, choices }
}

interface Room {
  readonly hardware: Pick<Hardware, 'freeMemoryBytes' | 'memoryReason'>
  readonly rule: MemoryRule
  readonly context: number
}

function autoKvMemory(
  config: EngineConfig,
  facts: PlanFacts,
  { hardware, rule, context }: Room,
): { bytes: number; reason: string } {
  const { weightsFactor, reserveBytes, kvShare, contextShare, words } = rule
  const blockBytes = facts.kvBytesPerToken * config.blockSize
  const left = Math.max(
    0,
    hardware.freeMemoryBytes - facts.weightsBytes * weightsFactor - reserveBytes,
  )
  const contextBytes = Math.ceil(context / config.blockSize) * blockBytes
  const most = Math.max(left * kvShare, Math.min(contextBytes, left * contextShare))
  const share = Math.floor(most / blockBytes) * blockBytes
  const need = contextBytes * config.maxNumSeqs
  if (need <= share) {
    const reason = `all that ${config.maxNumSeqs} sequences of ${context} tokens can use`
    return { bytes: need, reason }
  }
  const free = formatBytes(hardware.freeMemoryBytes)
  const part = most > left * kvShare ? 'what one whole context may take' : words
  const reason = `${part} of the ${free} of ${hardware.memoryReason}, less weights and reserve`
  return { bytes: share, reason }
}

function contextTooLarge(got: number, limit: number, limitedBy: string): Error {
  return deploymentError('DEPLOYMENT_CONTEXT_TOO_LARGE', {
    param: '--max-context',
    details: { got, limit, limitedBy },
  })
}
