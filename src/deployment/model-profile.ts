/**
 * What a model would take on a machine under every choice of weights and KV, and which of them to take. Pure: facts and
 * free memory in, a table out; the same for `ingot inspect` and for whoever asks over HTTP.
 *
 *   needed = weights × 1.3 + 512 MiB + KV of one whole context;  it fits when that much memory is free
 *
 * Knows no architecture and starts nothing. F1 Never advises to lose what need not be lost: formats are tried from the
 * stored one down, and the first that fits is advised.
 */

import type { KvDtype } from '../base/kv-dtype.ts'
import { SOURCE_WEIGHTS, WEIGHT_FORMATS, type WeightFormat } from '../base/weights-choice.ts'
import type { Hardware } from '../config/hardware.ts'
import { formatBytes } from '../config/option.ts'
import { RESERVE_BYTES, WEIGHTS_FACTOR } from './engine-plan.ts'
import type { ModelFacts } from './model-facts.ts'

export interface ProfileRow {
  readonly weights: WeightFormat
  readonly kv: KvDtype
  readonly weightsBytes: number
  readonly kvBytesPer1000Tokens: number
  /** With the KV of one whole context. */
  readonly neededBytes: number
  /** Tokens of KV that find room beside the weights; 0 when not even those fit. */
  readonly roomTokens: number
  /** Whether one sequence can be as long as the checkpoint allows. */
  readonly isFit: boolean
}

export interface ModelProfile {
  readonly freeMemoryBytes: number
  readonly contextTokens: number
  readonly rows: readonly ProfileRow[]
  readonly advised: { readonly weights: WeightFormat; readonly kv: KvDtype }
  readonly reason: string
}

export type ProfiledFacts = Pick<ModelFacts, 'exported' | 'kvBytesPerToken' | 'planWeights'> & {
  readonly config: Pick<ModelFacts['config'], 'maxContextTokens'>
}

/** One for each size: f16 takes what bf16 takes. */
const KV_DTYPES: readonly KvDtype[] = ['f32', 'bf16', 'int8']
/** From the most exact down; f32, bf16 and f16 gain nothing over what is stored but exactness that it does not have. */
const ADVISED: readonly WeightFormat[] = ['source', 'int8', 'int4']

export function profileModel(
  facts: ProfiledFacts,
  hardware: Pick<Hardware, 'freeMemoryBytes' | 'memoryReason'>,
): ModelProfile {
  const { freeMemoryBytes } = hardware
  const contextTokens = facts.config.maxContextTokens
  // An exported graph is computed as it is.
  const formats: readonly WeightFormat[] = facts.exported === null ? WEIGHT_FORMATS : ['source']
  const rows = formats.flatMap((weights) => {
    const weightsBytes = facts.planWeights({ ...SOURCE_WEIGHTS, format: weights }).packedBytes
    return KV_DTYPES.map((kv): ProfileRow => {
      const kvBytesPerToken = facts.kvBytesPerToken(kv)
      const fixedBytes = Math.ceil(weightsBytes * WEIGHTS_FACTOR) + RESERVE_BYTES
      const roomTokens = Math.floor(Math.max(0, freeMemoryBytes - fixedBytes) / kvBytesPerToken)
      return {
        weights,
        kv,
        weightsBytes,
        kvBytesPer1000Tokens: kvBytesPerToken * 1000,
        neededBytes: fixedBytes + kvBytesPerToken * contextTokens,
        roomTokens,
        isFit: roomTokens >= contextTokens,
      }
    })
  })
  return { freeMemoryBytes, contextTokens, rows, ...advise(rows, hardware, contextTokens) }
}

function advise(
  rows: readonly ProfileRow[],
  { freeMemoryBytes, memoryReason }: Pick<Hardware, 'freeMemoryBytes' | 'memoryReason'>,
  contextTokens: number,
): Pick<ModelProfile, 'advised' | 'reason'> {
  const candidates = rows.filter(({ weights, kv }) => ADVISED.includes(weights) && kv === 'bf16')
  const fit = candidates.find(({ isFit }) => isFit)
  // The one with the most room; the first of equals is the most exact.
  const best = fit ?? candidates.reduce((a, b) => (b.roomTokens > a.roomTokens ? b : a))
  const { weights, kv, neededBytes, roomTokens } = best
  const advised = { weights, kv }
  const free = `${formatBytes(freeMemoryBytes)} of ${memoryReason}`
  const needed = formatBytes(neededBytes)
  if (fit === undefined) {
    const room =
      roomTokens === 0 ? 'nothing fits' : `only ${roomTokens.toLocaleString('en')} tokens fit`
    return { advised, reason: `${room} in ${free}; one whole context needs ${needed}` }
  }
  const why =
    weights === 'source'
      ? 'as its author stored it, nothing lost'
      : 'the most exact that fits; ingot bench quality says what it costs'
  const context = contextTokens.toLocaleString('en')
  return {
    advised,
    reason: `${why}: ${needed} with a context of ${context} tokens, of ${free}`,
  }
}
