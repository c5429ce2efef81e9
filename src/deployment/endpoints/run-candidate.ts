/**
 * One endpoint that may serve a request: chooses its variant by what is there at this moment, leases it, and says
 * afterwards which one answered and why. Owns nothing.
 */

import { deploymentError } from '../errors.ts'
import type { GenerationRequest } from '../generation.ts'
import { chooseVariant } from './choose-variant.ts'
import type { Endpoint } from './endpoint.ts'
import type { Acquired, RunCandidate } from './endpoint-run.ts'
import type { MemoryBudget } from './memory-budget.ts'
import type { Candidate } from './resolve-alias.ts'
import type { ServedBy } from './routing.ts'
import type { ServedVariant } from './served-variant.ts'
import type { Lease } from './variant-options.ts'

export interface CandidateOptions {
  readonly memory: {
    readonly budget: Pick<MemoryBudget, 'freeBytes' | 'limit'>
    /** What unloading idle models would give. */
    readonly reclaimableBytes: number
  }
  /** `undefined` = it was removed since the candidates were found. */
  readonly endpoint: Endpoint | undefined
  readonly candidate: Candidate
  readonly request: GenerationRequest
  /** Why candidates before it refused. */
  readonly passedOver: readonly string[]
  /** Whether the answer says who served it. */
  readonly isTold: boolean
  /** Hears how the request ended. */
  readonly observe: ((error: unknown) => void) | undefined
}

export function runCandidate(options: CandidateOptions): RunCandidate {
  return {
    observe: options.observe,
    acquire: (signal) => {
      const { endpoint, request, candidate } = options
      if (endpoint === undefined) {
        const details = { model: candidate.endpoint, reason: 'it was removed' }
        throw deploymentError('DEPLOYMENT_STOPPED', { details })
      }
      const { variant, reason } = choose(endpoint, options)
      endpoint.noteChoice(variant.spec.name, reason)
      const waitMs = request.coldStartWaitMs ?? endpoint.spec.coldStartWaitMs
      const lease = variant.acquire(waitMs, signal)
      const acquired = (one: Lease): Acquired => ({
        lease: one,
        served: options.isTold ? servedBy(endpoint, variant, { ...options, reason }) : null,
      })
      return lease instanceof Promise ? lease.then(acquired) : acquired(lease)
    },
  }
}

function choose(
  endpoint: Endpoint,
  { memory, candidate, request }: CandidateOptions,
): { readonly variant: ServedVariant; readonly reason: string } {
  const { variants } = endpoint.facts()
  const choice = chooseVariant(variants, {
    allowed: candidate.variants,
    tier: request.serviceTier,
    freeBytes: Math.max(0, memory.budget.freeBytes),
    reclaimableBytes: memory.reclaimableBytes,
    budgetBytes: memory.budget.limit.bytes,
  })
  const smallest = variants
    .filter(({ name }) => candidate.variants.includes(name))
    .toSorted((one, other) => one.totalBytes - other.totalBytes)[0]
  // What does not fit beside models in use waits for them to end; its KV may give way.
  const name = choice.kind === 'chosen' ? choice.variant : smallest?.name
  const variant = endpoint.variants.get(name ?? '')
  if (variant !== undefined) return { variant, reason: choice.reason }
  const details = { model: endpoint.name, reason: choice.reason }
  throw deploymentError('DEPLOYMENT_STOPPED', { details })
}

function servedBy(
  endpoint: Endpoint,
  { spec, prepared }: ServedVariant,
  { candidate, passedOver, reason }: CandidateOptions & { readonly reason: string },
): ServedBy | null {
  if (prepared === null) return null
  const { region, retention } = endpoint.spec
  return {
    endpoint: endpoint.name,
    variant: spec.name,
    reason: `${candidate.reason}; ${reason}`,
    quantization: prepared.quantization,
    modelRevision: prepared.card.digest,
    servingConfigDigest: prepared.card.servingConfigDigest,
    region,
    retention,
    fallbacks: [...candidate.fallbacks, ...passedOver],
  }
}
