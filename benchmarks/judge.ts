/**
 * Compares what was measured with what was meant to be reached: ratios to the best peer, shares of the machine's limits.
 * Pure.
 */

import type { MachineLimits } from './limits.ts'
import type { LimitTarget, RatioTarget } from './presets.ts'
import type { TrialResult } from './report.ts'
import type { WorkPerToken } from './work-per-token.ts'

export interface RatioVerdict extends RatioTarget {
  readonly tokensPerSecond: number
  readonly bestPeer: string
  readonly bestPeerTokensPerSecond: number
  readonly measured: number
  readonly isMet: boolean
}

export interface LimitVerdict extends LimitTarget {
  /** Bytes or multiply-adds a second that Ingot needed, and what the machine can. */
  readonly used: number
  readonly available: number
  readonly measured: number
  readonly isMet: boolean
}

/** Of medians. A trial without a peer has no verdict: nothing was compared. @param system - who is judged */
export function judgeRatios(
  targets: readonly RatioTarget[],
  results: readonly TrialResult[],
  system: string,
): RatioVerdict[] {
  return targets.flatMap((target) => {
    const there = results.filter(({ trial }) => trial === target.trial)
    const own = there.find((result) => result.system === system)?.tokensPerSecond.median
    const [best] = there
      .filter((result) => result.system !== system)
      .sort((a, b) => b.tokensPerSecond.median - a.tokensPerSecond.median)
    if (own === undefined || best === undefined) return []
    const theirs = best.tokensPerSecond.median
    const measured = own / theirs
    const rates = { tokensPerSecond: own, bestPeerTokensPerSecond: theirs }
    const isMet = measured >= target.ratio
    return [{ ...target, ...rates, bestPeer: best.system, measured, isMet }]
  })
}

/** @param work - `null` when it is not known; there are no verdicts then */
export function judgeLimits(
  targets: readonly LimitTarget[],
  results: readonly TrialResult[],
  system: string,
  limits: MachineLimits,
  work: WorkPerToken | null,
): LimitVerdict[] {
  if (work === null) return []
  return targets.flatMap((target) => {
    const own = results.find((result) => result.trial === target.trial && result.system === system)
    const isMemory = target.limit === 'memory'
    const available = isMemory ? limits.readBytesPerSecond : limits.int8MacsPerSecond
    if (own === undefined || available === null) return []
    const macs = own.figure === 'prefill' ? work.prefillMacs : work.decodeMacs
    const used = own.tokensPerSecond.median * (isMemory ? work.weightBytes : macs)
    const measured = used / available
    return [{ ...target, used, available, measured, isMet: measured >= target.share }]
  })
}

export function formatVerdicts(
  ratios: readonly RatioVerdict[],
  limits: readonly LimitVerdict[],
): string {
  const met = (isMet: boolean) => (isMet ? 'met' : 'MISSED')
  const lines = ratios.map((verdict) => {
    const { trial, bestPeer, measured, ratio, isMet } = verdict
    const rates = `${verdict.tokensPerSecond.toFixed(0)} ÷ ${verdict.bestPeerTokensPerSecond.toFixed(0)}`
    return `${trial.padEnd(16)} ${rates} (${bestPeer}) = ${measured.toFixed(2)}×, target ≥ ${ratio}×: ${met(isMet)}`
  })
  const shares = limits.map((verdict) => {
    const { trial, limit, measured, share, isMet, used, available } = verdict
    const unit = limit === 'memory' ? 'GB/s of memory' : 'G int8 multiply-adds/s'
    const amounts = `${(used / 1e9).toFixed(1)} of ${(available / 1e9).toFixed(1)} ${unit}`
    return `${trial.padEnd(16)} ${amounts} = ${percent(measured)}, target ≥ ${percent(share)}: ${met(isMet)}`
  })
  return [...lines, ...shares].join('\n')
}

function percent(share: number): string {
  return `${(100 * share).toFixed(0)} %`
}
