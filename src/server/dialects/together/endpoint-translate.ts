/**
 * Between Together's endpoint objects and ours: a created endpoint's declaration, a patch, and the way back.
 *
 * Owns nothing. Answers have exactly the members of the official SDK's types; what Together has no word for is in
 * `GET /v1/status`.
 */

import { randomUUID } from 'node:crypto'
import { SOURCE_WEIGHTS, type WeightFormat } from '../../../base/weights-choice.ts'
import {
  DEFAULT_COLD_START_WAIT_MS,
  defaultAutoscaling,
  defaultInactiveTimeoutMs,
} from '../../../deployment/endpoints/endpoint-defaults.ts'
import type { DeclarationDefaults } from '../../../deployment/endpoints/endpoint-file.ts'
import type {
  AutoscalingSpec,
  EndpointSpec,
  VariantSpec,
} from '../../../deployment/endpoints/endpoint-spec.ts'
import type { EndpointStatus } from '../../../deployment/endpoints/endpoints-admin.ts'
import type { MachineFacts } from '../../administration.ts'
import { conflict } from '../../errors.ts'
import type { CreateEndpointBody, EndpointFields, UpdateEndpointBody } from './endpoint-schema.ts'
import { hardwareId, threadsOf } from './hardware.ts'

const MINUTE_MS = 60_000
const OWNER = 'ingot'

/** @throws ServingError SERVER_INVALID_VALUE, SERVER_CONFLICTING_PARAMETERS */
export function specOf(
  body: CreateEndpointBody,
  machine: MachineFacts,
  defaults: DeclarationDefaults,
): EndpointSpec {
  const mode = body.type ?? 'dedicated'
  if (mode === 'serverless' && (body.autoscaling ?? null) !== null) {
    throw conflict('autoscaling', 'a serverless endpoint has one replica or none')
  }
  if (mode === 'dedicated' && body.pinned === true) {
    throw conflict('pinned', 'a dedicated endpoint is never unloaded to make room')
  }
  const { hardware, model } = body
  return {
    name: body.name ?? generatedName(model),
    displayName: body.display_name ?? null,
    mode,
    variants: (body.weights ?? ['source']).map((format) =>
      newVariant(format, { source: model, digest: body.digest ?? null }, defaults),
    ),
    state: body.state ?? 'STARTED',
    kvMemoryBytes: body.kv_memory_bytes ?? null,
    maxContextTokens: body.max_context_tokens ?? null,
    maxNumSeqs: body.max_sequences ?? null,
    maxQueuedSequences: body.max_queue ?? null,
    threads: (hardware ?? null) === null ? null : threadsOf(machine, hardware as string),
    maxDraftTokens: body.disable_speculative_decoding === true ? 0 : null,
    prefixCache: body.disable_prompt_cache === true ? false : null,
    cpuSets: [],
    inactiveTimeoutMs:
      body.inactive_timeout === undefined
        ? defaultInactiveTimeoutMs(mode)
        : timeoutOf(body.inactive_timeout),
    isPinned: body.pinned ?? false,
    coldStartWaitMs: body.cold_start_wait_ms ?? DEFAULT_COLD_START_WAIT_MS,
    autoscaling: autoscalingOf(body, defaultAutoscaling(mode)),
    region: null,
    retention: defaults.retention,
  }
}

export type EndpointPatch = Partial<Omit<EndpointSpec, 'name' | 'mode'>>

/** What is given and nothing else; `null` sets a field back where it stands for something, else it is as if absent. */
export function patchOf(
  body: UpdateEndpointBody,
  { spec }: EndpointStatus,
  defaults: DeclarationDefaults,
): EndpointPatch {
  const has = (name: keyof UpdateEndpointBody): boolean => body[name] !== undefined
  const changesWeights = has('model') || has('weights') || has('digest')
  return {
    ...(has('autoscaling') ? { autoscaling: autoscalingOf(body, spec.autoscaling) } : {}),
    ...(has('display_name') ? { displayName: body.display_name ?? null } : {}),
    ...(has('inactive_timeout')
      ? { inactiveTimeoutMs: timeoutOf(body.inactive_timeout ?? null) }
      : {}),
    ...((body.state ?? null) === null ? {} : { state: body.state as EndpointSpec['state'] }),
    ...(changesWeights ? { variants: changedVariants(body, spec.variants, defaults) } : {}),
    ...(has('kv_memory_bytes') ? { kvMemoryBytes: body.kv_memory_bytes ?? null } : {}),
    ...(has('max_context_tokens') ? { maxContextTokens: body.max_context_tokens ?? null } : {}),
    ...(has('max_sequences') ? { maxNumSeqs: body.max_sequences ?? null } : {}),
    ...(has('max_queue') ? { maxQueuedSequences: body.max_queue ?? null } : {}),
    ...((body.cold_start_wait_ms ?? null) === null
      ? {}
      : { coldStartWaitMs: body.cold_start_wait_ms as number }),
    ...((body.pinned ?? null) === null ? {} : { isPinned: body.pinned as boolean }),
  }
}

/** `DedicatedEndpoint` of the SDK, and the same for serverless ones. */
export function endpointObject(status: EndpointStatus, machine: MachineFacts): object {
  const { spec } = status
  const { minReplicas, maxReplicas } = spec.autoscaling
  const isServerless = spec.mode === 'serverless'
  return {
    ...listedEndpoint(status),
    display_name: spec.displayName ?? spec.name,
    hardware: hardwareId(machine, spec.threads ?? sharedThreads(machine, spec)),
    autoscaling: isServerless
      ? { min_replicas: 0, max_replicas: 1 }
      : { min_replicas: minReplicas, max_replicas: maxReplicas },
  }
}

/** Cores of a replica that names none: replicas of a dedicated endpoint compute side by side, others take turns. */
function sharedThreads({ numCores }: MachineFacts, { mode, autoscaling }: EndpointSpec): number {
  if (mode === 'serverless') return numCores
  return Math.max(1, Math.floor(numCores / Math.max(1, autoscaling.maxReplicas)))
}

/** `EndpointListResponse.Data` of the SDK, which has fewer members. */
export function listedEndpoint({ id, spec, state, createdAt }: EndpointStatus): object {
  return {
    object: 'endpoint',
    id,
    name: spec.name,
    model: spec.variants[0]?.source ?? '',
    type: spec.mode,
    owner: OWNER,
    state,
    created_at: new Date(createdAt * 1000).toISOString(),
  }
}

function newVariant(
  format: WeightFormat,
  origin: Pick<VariantSpec, 'source' | 'digest'>,
  { activations }: DeclarationDefaults,
): VariantSpec {
  const weights = { ...SOURCE_WEIGHTS, format }
  return { name: format, ...origin, weights, activations, kvDtype: null, qualityKl: null }
}

/** Those that stay keep everything but what was asked to change, and what was measured of other weights. */
function changedVariants(
  { model, weights, digest }: UpdateEndpointBody,
  before: readonly VariantSpec[],
  defaults: DeclarationDefaults,
): VariantSpec[] {
  const [first] = before
  const formats = weights ?? null
  const wanted =
    formats === null
      ? before
      : formats.map(
          (format) =>
            before.find((variant) => variant.weights.format === format) ??
            newVariant(
              format,
              { source: first?.source ?? '', digest: first?.digest ?? null },
              defaults,
            ),
        )
  return wanted.map((variant) => {
    const source = model ?? variant.source
    const hasMoved = source !== variant.source
    return {
      ...variant,
      source,
      digest: digest === undefined ? (hasMoved ? null : variant.digest) : digest,
      qualityKl: hasMoved ? null : variant.qualityKl,
    }
  })
}

function autoscalingOf({ autoscaling }: EndpointFields, before: AutoscalingSpec): AutoscalingSpec {
  if (autoscaling === undefined || autoscaling === null) return before
  const { min_replicas: minReplicas, max_replicas: maxReplicas } = autoscaling
  if (minReplicas > maxReplicas) {
    throw conflict('autoscaling', 'min_replicas is more than max_replicas')
  }
  return { ...before, minReplicas, maxReplicas }
}

function timeoutOf(minutes: number | null): number | null {
  return minutes === null || minutes === 0 ? null : minutes * MINUTE_MS
}

/** `…/SmolLM2-135M.Q4_1.gguf` becomes `SmolLM2-135M.Q4_1-1f2e3d4c`; only what names may hold. */
function generatedName(model: string): string {
  const last = model.split(/[/\\]/).at(-1) ?? ''
  const stem = last
    .replace(/\.(?:gguf|onnx|json)$/i, '')
    .replaceAll(/[^A-Za-z0-9._:-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, 180)
  return `${stem === '' ? 'model' : stem}-${randomUUID().slice(0, 8)}`
}
