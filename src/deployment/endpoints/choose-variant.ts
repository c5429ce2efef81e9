/**
 * Which variant of an endpoint serves: by what is allowed, what fits the memory now, the tier that was asked for, and
 * each variant's measured quality and speed. Pure; owns nothing.
 *
 * I1 never a variant that is not allowed, nor one that does not fit.
 * I2 equal facts, equal choice; the order of declaration decides what nothing else does.
 * I3 the reason names the fact that decided between the winner and the next best.
 *
 * Differences that measurement does not carry count as none: KL below 0.001 nats, speed below 5 %. Where one of the
 * variants was not measured, that measure decides nothing, and quality is the order of declaration.
 */

import { formatBytes } from '../../config/option.ts'
import type { ServiceTier } from '../generation.ts'
import type { VariantFacts } from './facts.ts'

export interface VariantNeeds {
  /** Names of the variants that the request and its alias allow. */
  readonly allowed: readonly string[]
  readonly tier: ServiceTier
  /** Bytes that can be reserved now, nothing unloaded; a loaded variant needs none. */
  readonly freeBytes: number
  /** Bytes that unloading idle models would give besides. */
  readonly reclaimableBytes: number
  /** Of the whole pool. */
  readonly budgetBytes: number
}

export type VariantChoice =
  | {
      readonly kind: 'chosen'
      readonly variant: string
      readonly reason: string
      /** To be freed before it can load. */
      readonly mustFreeBytes: number
    }
  /** None fits; `canEverFit` = one would, were the pool empty. */
  | { readonly kind: 'none'; readonly reason: string; readonly canEverFit: boolean }

/** Lower is better. */
interface Measure {
  of(variant: VariantFacts): number
  /** Why the winner won by it. */
  reason(winner: VariantFacts, next: VariantFacts): string
}

/** @param variants - of one endpoint, in the order of their declaration */
export function chooseVariant(
  variants: readonly VariantFacts[],
  needs: VariantNeeds,
): VariantChoice {
  const allowed = variants.filter(({ name }) => needs.allowed.includes(name))
  const roomBytes = needs.freeBytes + needs.reclaimableBytes
  const fitting = allowed.filter(({ isLoaded, totalBytes }) => isLoaded || totalBytes <= roomBytes)
  const measures = measuresOf(fitting, needs)
  const ranked = fitting.toSorted((one, other) => compare(measures, one, other))
  const [winner, next] = ranked
  if (winner === undefined) return noneFits(allowed, needs)
  const mustFreeBytes = winner.isLoaded ? 0 : Math.max(0, winner.totalBytes - needs.freeBytes)
  const reason =
    next === undefined
      ? onlyReason(variants, allowed, needs)
      : (deciding(measures, winner, next)?.reason(winner, next) ?? 'declared first of equals')
  return { kind: 'chosen', variant: winner.name, reason, mustFreeBytes }
}

function measuresOf(
  variants: readonly VariantFacts[],
  { tier, freeBytes }: VariantNeeds,
): readonly Measure[] {
  const loaded: Measure = {
    of: ({ isLoaded }) => (isLoaded ? 0 : 1),
    reason: () => 'already loaded',
  }
  const free: Measure = {
    of: ({ isLoaded, totalBytes }) => (isLoaded || totalBytes <= freeBytes ? 0 : 1),
    reason: (_, next) =>
      `fits the ${formatBytes(freeBytes)} that are free, and ${next.name} takes ${formatBytes(next.totalBytes)}`,
  }
  const size: Measure = {
    of: ({ totalBytes }) => totalBytes,
    reason: (winner, next) =>
      `takes ${formatBytes(winner.totalBytes)}, less than ${next.name} with ${formatBytes(next.totalBytes)}`,
  }
  const quality = qualityOf(variants)
  const speed = speedOf(variants)
  switch (tier) {
    case 'priority':
      return [quality, loaded, ...speed, free, size]
    case 'flex':
      return [loaded, free, ...speed, size, quality]
    default:
      return [loaded, free, quality, ...speed, size]
  }
}

const KL_STEP = 0.001

function qualityOf(variants: readonly VariantFacts[]): Measure {
  const isMeasured = variants.every(({ qualityKl }) => qualityKl !== null)
  if (isMeasured) {
    return {
      of: ({ qualityKl }) => Math.round((qualityKl ?? 0) / KL_STEP),
      reason: (winner, next) =>
        `best measured quality: KL ${winner.qualityKl} against ${next.qualityKl} of ${next.name}`,
    }
  }
  return {
    of: (variant) => variants.indexOf(variant),
    reason: (_, next) => `declared before ${next.name}, best first`,
  }
}

const SPEED_STEP = Math.log(1.05)

function speedOf(variants: readonly VariantFacts[]): readonly Measure[] {
  if (variants.some(({ tokensPerSecond }) => tokensPerSecond === null)) return []
  const shown = ({ tokensPerSecond }: VariantFacts) => (tokensPerSecond ?? 0).toFixed(1)
  const measure: Measure = {
    of: ({ tokensPerSecond }) =>
      -Math.round(Math.log(Math.max(tokensPerSecond ?? 0, 1e-3)) / SPEED_STEP),
    reason: (winner, next) =>
      `fastest measured: ${shown(winner)} tokens/s against ${shown(next)} of ${next.name}`,
  }
  return [measure]
}

function compare(measures: readonly Measure[], one: VariantFacts, other: VariantFacts): number {
  const measure = deciding(measures, one, other)
  return measure === undefined ? 0 : measure.of(one) - measure.of(other)
}

function deciding(
  measures: readonly Measure[],
  one: VariantFacts,
  other: VariantFacts,
): Measure | undefined {
  return measures.find((measure) => measure.of(one) !== measure.of(other))
}

/** Why there was nothing to choose from. */
function onlyReason(
  variants: readonly VariantFacts[],
  allowed: readonly VariantFacts[],
  { freeBytes, reclaimableBytes }: VariantNeeds,
): string {
  if (variants.length === 1) return 'the only variant'
  if (allowed.length === 1) return 'the only variant that the request and its alias allow'
  return `the only one that fits ${formatBytes(freeBytes + reclaimableBytes)}`
}

function noneFits(allowed: readonly VariantFacts[], needs: VariantNeeds): VariantChoice {
  const { freeBytes, reclaimableBytes, budgetBytes } = needs
  const [smallest] = allowed.toSorted((one, other) => one.totalBytes - other.totalBytes)
  if (smallest === undefined) {
    return { kind: 'none', reason: 'no variant is allowed', canEverFit: false }
  }
  const takes = `${smallest.name} takes ${formatBytes(smallest.totalBytes)}`
  const canEverFit = smallest.totalBytes <= budgetBytes
  const reason = canEverFit
    ? `${takes}, and ${formatBytes(freeBytes)} are free with ${formatBytes(reclaimableBytes)} of idle models to unload, of ${formatBytes(budgetBytes)}; the rest is in use`
    : `${takes}, more than the whole memory budget of ${formatBytes(budgetBytes)}`
  return { kind: 'none', reason, canEverFit }
}
