/**
 * One endpoint as a configuration file writes it. The keys that settings have too are called as they are there
 * (`engine.kvMemory`, `engine.maxSequences`, …). Owns nothing; ranges are `check-catalog.ts`'s.
 */

import { KV_DTYPES } from '../../base/kv-dtype.ts'
import {
  parseWeightOverride,
  SOURCE_WEIGHTS,
  WEIGHT_FORMATS,
  type WeightOverride,
  type WeightsChoice,
} from '../../base/weights-choice.ts'
import { configError } from '../../config/errors.ts'
import {
  boolean,
  bytes,
  duration,
  type FieldKind,
  integer,
  number,
  oneOf,
  orWord,
  text,
} from '../../config/field-kinds.ts'
import { type MapReader, type ReadContext, readItems, readMap } from '../../config/fields.ts'
import { placed } from '../../config/hostile-text.ts'
import { AUTO } from '../../config/option.ts'
import type { RuntimeConfig } from '../../config/runtime-config.ts'
import {
  DEFAULT_COLD_START_WAIT_MS,
  DEFAULT_ROLLOUT,
  defaultAutoscaling,
  defaultInactiveTimeoutMs,
  retentionOf,
} from './endpoint-defaults.ts'
import type {
  AutoscalingSpec,
  EndpointMode,
  EndpointSpec,
  RolloutSpec,
  VariantSpec,
} from './endpoint-spec.ts'

/** What the configuration says where a declaration does not. */
export interface DeclarationDefaults {
  readonly activations: VariantSpec['activations']
  /** `standard` with a disk cache of keys and values, unless an endpoint says otherwise. */
  readonly retention: EndpointSpec['retention']
}

export function declarationDefaults({
  engine,
  store,
}: Pick<RuntimeConfig, 'engine' | 'store'>): DeclarationDefaults {
  return { activations: engine.activations, retention: retentionOf(store) }
}

const SOURCE = text('a catalog name, a path or a source (pypi:, hf:, https:, file:)')

/** @returns `undefined` when it names no model; then that is a problem */
export function readEndpoint(
  name: string,
  reader: MapReader,
  defaults: DeclarationDefaults,
  context: ReadContext,
): EndpointSpec | undefined {
  const mode = reader.read('mode', oneOf(['serverless', 'dedicated'])) ?? 'serverless'
  const variants = readVariants(reader, defaults, context)
  const timeout = reader.read('inactiveTimeout', orWord(duration, 'off'))
  const prefixCache = automatic(reader, 'prefixCache', oneOf(['on', 'off']))
  const endpoint: EndpointSpec = {
    name,
    displayName: reader.read('displayName', text('a text')) ?? null,
    mode,
    variants: variants ?? [],
    state: reader.read('state', oneOf(['STARTED', 'STOPPED'])) ?? 'STARTED',
    kvMemoryBytes: automatic(reader, 'kvMemory', bytes),
    maxContextTokens: automatic(reader, 'maxContext', integer),
    maxNumSeqs: automatic(reader, 'maxSequences', integer),
    maxQueuedSequences: automatic(reader, 'maxQueue', integer),
    threads: automatic(reader, 'threads', integer),
    maxDraftTokens: automatic(reader, 'draftTokens', integer),
    prefixCache: prefixCache === null ? null : prefixCache === 'on',
    cpuSets: reader.readList('cpuSets', text('CPUs such as "0-3,8"')) ?? [],
    inactiveTimeoutMs: timeout === 'off' ? null : (timeout ?? defaultInactiveTimeoutMs(mode)),
    isPinned: reader.read('pinned', boolean) ?? false,
    coldStartWaitMs: reader.read('coldStartWait', duration) ?? DEFAULT_COLD_START_WAIT_MS,
    autoscaling: readReplicas(reader, mode),
    region: reader.read('region', text('a label such as eu-central')) ?? null,
    retention: reader.read('retention', oneOf(['none', 'standard'])) ?? defaults.retention,
    ...readRollout(reader),
  }
  reader.finish()
  return variants === undefined ? undefined : endpoint
}

/** `auto` and nothing both leave it open. */
function automatic<T>(reader: MapReader, key: string, kind: FieldKind<T>): T | null {
  const value = reader.read(key, orWord(kind, AUTO))
  return value === undefined || value === AUTO ? null : value
}

function readReplicas(endpoint: MapReader, mode: EndpointMode): AutoscalingSpec {
  const defaults = defaultAutoscaling(mode)
  const reader = endpoint.readMap('replicas')
  if (reader === undefined) return defaults
  const minReplicas = reader.read('min', integer)
  const maxReplicas = reader.read('max', integer)
  const autoscaling: AutoscalingSpec = {
    // `max: 3` alone keeps the least; `min: 3` alone raises the most.
    minReplicas: minReplicas ?? defaults.minReplicas,
    maxReplicas: maxReplicas ?? Math.max(minReplicas ?? 0, defaults.maxReplicas),
    targetLoad: reader.read('targetLoad', number) ?? defaults.targetLoad,
    scaleUpWindowMs: reader.read('scaleUpWindow', duration) ?? defaults.scaleUpWindowMs,
    scaleDownWindowMs: reader.read('scaleDownWindow', duration) ?? defaults.scaleDownWindowMs,
  }
  reader.finish()
  return autoscaling
}

/** `rollout: {}` is a tenth of the requests for ten minutes. */
function readRollout(endpoint: MapReader): { readonly rollout?: RolloutSpec } {
  const reader = endpoint.readMap('rollout')
  if (reader === undefined) return {}
  const rollout: RolloutSpec = {
    percent: reader.read('percent', number) ?? DEFAULT_ROLLOUT.percent,
    observeMs: reader.read('observe', duration) ?? DEFAULT_ROLLOUT.observeMs,
    maxErrorRate: reader.read('maxErrorRate', number) ?? DEFAULT_ROLLOUT.maxErrorRate,
    minRequests: reader.read('minRequests', integer) ?? DEFAULT_ROLLOUT.minRequests,
  }
  reader.finish()
  return { rollout }
}

/** `model` alone is one variant; with `variants` it is the source of those that name none. */
function readVariants(
  reader: MapReader,
  defaults: DeclarationDefaults,
  context: ReadContext,
): readonly VariantSpec[] | undefined {
  const model = reader.read('model', SOURCE)
  const node = reader.take('variants')
  const path = `${reader.path}.variants`
  if (node === undefined) {
    if (model !== undefined) {
      standsFor(context, `${path}[0].source`, `${reader.path}.model`)
      return [variantOf({ source: model }, defaults)]
    }
    report(context, reader, `${reader.path}.model`, SOURCE.expected)
    return undefined
  }
  const items = readItems(node, path, context)
  const variants = items?.flatMap((item, at) => {
    const variant = readMap(item, `${path}[${at}]`, context)
    if (variant === undefined) return []
    standsFor(context, `${variant.path}.source`, `${reader.path}.model`)
    return readVariant(variant, model, defaults, context) ?? []
  })
  return variants?.length === items?.length ? variants : undefined
}

function readVariant(
  reader: MapReader,
  model: string | undefined,
  defaults: DeclarationDefaults,
  context: ReadContext,
): VariantSpec | undefined {
  const source = reader.read('source', SOURCE) ?? model
  const weights = readWeights(reader)
  const kvDtype = reader.read('kvDtype', orWord(oneOf(KV_DTYPES), AUTO))
  const variant = {
    name: reader.read('name', text('a name such as int4')) ?? weights.format,
    digest: reader.read('digest', text('"sha256:" and 64 hex digits')) ?? null,
    weights,
    activations: reader.read('activations', oneOf(['f32', 'bf16', 'int8'])) ?? defaults.activations,
    kvDtype: kvDtype === undefined || kvDtype === AUTO ? null : kvDtype,
    qualityKl: reader.read('qualityKl', number) ?? null,
  }
  reader.finish()
  if (source !== undefined) return { ...variant, source }
  report(context, reader, `${reader.path}.source`, `${SOURCE.expected}, here or as model`)
  return undefined
}

function variantOf(
  fields: Pick<VariantSpec, 'source'>,
  { activations }: DeclarationDefaults,
): VariantSpec {
  const weights = SOURCE_WEIGHTS
  const open = { digest: null, kvDtype: null, qualityKl: null }
  return { name: weights.format, ...fields, weights, activations, ...open }
}

const FORMAT = oneOf(WEIGHT_FORMATS)
const OVERRIDE: FieldKind<WeightOverride> = {
  expected: 'PATTERN=FORMAT, such as model.layers.0.*=bf16',
  parse: ({ value }) => (typeof value === 'string' ? parseWeightOverride(value) : undefined),
}
const GROUP: FieldKind<NonNullable<WeightsChoice['group']>> = {
  expected: '32, 64, 128 or "channel"',
  parse: ({ value }) =>
    value === 32 || value === 64 || value === 128 || value === 'channel' ? value : undefined,
}

/** A format alone, or a map of what the `model.weights…` settings say. */
function readWeights(variant: MapReader): WeightsChoice {
  const node = variant.take('weights')
  if (node?.kind !== 'map') {
    const format = variant.read('weights', FORMAT) ?? SOURCE_WEIGHTS.format
    return { ...SOURCE_WEIGHTS, format }
  }
  const reader = variant.readMap('weights') as MapReader
  const weights: WeightsChoice = {
    format: reader.read('format', FORMAT) ?? SOURCE_WEIGHTS.format,
    head: automatic(reader, 'head', FORMAT),
    embedding: automatic(reader, 'embedding', FORMAT),
    group: automatic(reader, 'group', GROUP),
    symmetry: automatic(reader, 'symmetry', oneOf(['symmetric', 'asymmetric'])),
    overrides: reader.readList('overrides', OVERRIDE) ?? [],
  }
  reader.finish()
  return weights
}

/** Where a problem of something that is written elsewhere is shown. */
function standsFor({ places }: ReadContext, path: string, written: string): void {
  const place = places.get(written)
  if (place !== undefined) places.set(path, place)
}

function report(context: ReadContext, reader: MapReader, path: string, expected: string): void {
  const source = placed(context.file, reader.at)
  const details = { source, key: path, expected, got: 'nothing', hint: '' }
  context.problems.push(configError('CONFIG_BAD_VALUE', { param: path, details }))
}
