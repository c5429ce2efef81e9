/**
 * From what was written and what the machine has to one frozen configuration. Pure: same inputs, same values.
 * Order, later wins: defaults < file < environment < flags. Every value keeps its reason.
 */

import { isAbsolute, join, resolve } from 'node:path'
import { parseWeightOverride, type WeightsChoice } from '../base/weights-choice.ts'
import { configError } from './errors.ts'
import type { Hardware } from './hardware.ts'
import { AUTO, formatBytes, type Option, type Origin, readValue } from './option.ts'
import { OPTION_KEYS, OPTIONS, type OptionKey, type OptionValues } from './options.ts'
import type { AdaptersConfig, Choice, EngineConfig, RuntimeConfig } from './runtime-config.ts'
import type { WrittenValues } from './sources.ts'

export interface ConfigInputs {
  /** Weakest first. */
  readonly written: readonly WrittenValues[]
  readonly hardware: Hardware
  /** For what is under the home or the cache folder, and for the store. */
  readonly environment: Readonly<Record<string, string | undefined>>
  /** What relative paths start from. */
  readonly folder: string
}

interface Settled {
  readonly value: OptionValues[OptionKey]
  readonly origin: Origin
}

/** @throws ServingError CONFIG_BAD_VALUE naming source and key, also where two values cannot go together */
export function resolveConfig(inputs: ConfigInputs): RuntimeConfig {
  const settled = new Map(OPTION_KEYS.map((key) => [key, settle(key, inputs.written)]))
  const choices = new Map<OptionKey, Choice>()
  for (const [key, { value, origin }] of settled) {
    choices.set(key, {
      key,
      value: shown(key, value),
      reason: reasonOf(origin),
      origin: origin.kind,
    })
  }
  const get = <K extends OptionKey>(key: K) => settled.get(key)?.value as OptionValues[K]
  const decide = <T>(key: OptionKey, value: T, text: string, reason: string): T => {
    choices.set(key, { key, value: text, reason, origin: 'auto' })
    return value
  }
  checkStepLimits(settled)
  checkDiskCache(settled)
  const { folder, environment } = inputs
  const home =
    get('store.home') === AUTO
      ? decide('store.home', ...defaultHome(environment))
      : resolve(folder, get('store.home'))
  const auditFile = get('audit.file')
  const file = auditFile === AUTO ? join(home, 'audit', 'audit.jsonl') : resolve(folder, auditFile)
  if (auditFile === AUTO) decide('audit.file', file, file, 'in the home folder')
  const name = get('model.name')
  const names = get('model.servedNames')
  const adminToken = get('server.adminToken')
  return deepFreeze({
    model: {
      name: name === AUTO ? null : name,
      servedNames: names === AUTO ? null : names,
      weights: weightsChoice(get, decide),
      draft: get('model.draft') === 'none' ? null : get('model.draft'),
    },
    store: {
      home,
      packs: { folder: join(home, 'packed'), limitBytes: get('store.packCache') },
      kvDisk: { folder: join(home, 'kv'), limitBytes: get('store.kvDiskCache') },
      environment,
    },
    engine: engineConfig(get, decide, inputs.hardware),
    adapters: adaptersConfig(get, folder),
    admission: { maxQueuedSequences: get('admission.maxQueue') },
    server: {
      host: get('server.host'),
      port: get('server.port'),
      gracePeriodMs: get('server.gracePeriod') * 1000,
      keepAliveMs: get('server.keepAlive') * 1000,
      maxBodyBytes: get('server.maxBody'),
      adminToken:
        adminToken === AUTO ? decide('server.adminToken', null, 'none', ADMIN_REASON) : adminToken,
    },
    audit: { file, fsync: get('audit.fsync') },
    log: { level: get('log.level') },
    choices: [...choices.values()],
  })
}

const ADMIN_REASON = 'then only programs on this machine may administer it'

type Get = <K extends OptionKey>(key: K) => OptionValues[K]
type Decide = <T>(key: OptionKey, value: T, text: string, reason: string) => T

/** What only the model can decide stays `null`: the head's format is the embedding's where one table is both. */
function weightsChoice(get: Get, decide: Decide): WeightsChoice {
  const format = get('model.weights')
  const open = <T>(value: typeof AUTO | T): T | null => (value === AUTO ? null : value)
  return {
    format:
      format === AUTO
        ? decide('model.weights', 'source', 'source', 'as the checkpoint stores them, nothing lost')
        : format,
    head: open(get('model.weightsHead')),
    embedding: open(get('model.weightsEmbedding')),
    group: open(get('model.weightsGroup')),
    symmetry: open(get('model.weightsSymmetry')),
    overrides: get('model.weightsOverrides').flatMap((text) => parseWeightOverride(text) ?? []),
  }
}

function adaptersConfig(get: Get, folder: string): AdaptersConfig {
  const runtimeFolder = get('adapters.runtimeFolder')
  return {
    modules: get('adapters.modules').map((text) => {
      const equals = text.indexOf('=')
      const path = text.slice(equals + 1).trim()
      return { name: text.slice(0, equals).trim(), folder: resolve(folder, path) }
    }),
    maxLoras: get('adapters.maxLoras'),
    maxRank: get('adapters.maxRank'),
    runtimeFolder: runtimeFolder === 'off' ? null : resolve(folder, runtimeFolder),
  }
}

function engineConfig(get: Get, decide: Decide, hardware: Hardware): EngineConfig {
  const activations = get('engine.activations')
  const threads = get('engine.threads')
  const kvDtype = get('engine.kvDtype')
  const kvMemory = get('engine.kvMemory')
  const maxContext = get('engine.maxContext')
  const swapSpace = get('engine.swapSpace')
  const numCores = hardware.numPhysicalCores
  const [autoKvDtype, kvReason] =
    activations === 'f32'
      ? (['f32', 'as exact as the f32 activations that were asked for'] as const)
      : (['bf16', `half the memory of f32, as exact as ${activations} activations need`] as const)
  return {
    threads:
      threads === AUTO
        ? decide('engine.threads', numCores, String(numCores), hardware.coresReason)
        : threads,
    kvMemoryBytes: kvMemory === AUTO ? null : kvMemory,
    swapBytes: swapSpace === AUTO ? null : swapSpace,
    activations,
    kvDtype:
      kvDtype === AUTO ? decide('engine.kvDtype', autoKvDtype, autoKvDtype, kvReason) : kvDtype,
    blockSize: get('engine.blockSize'),
    maxNumBatchedTokens: get('engine.maxBatchTokens'),
    maxNumSeqs: get('engine.maxSequences'),
    maxContextTokens: maxContext === AUTO ? null : maxContext,
    scheduling: {
      prefixCache: get('engine.prefixCache') === 'on',
      targetItl: get('engine.targetItl'),
      maxDraftTokens: get('engine.draftTokens'),
    },
  }
}

/** Every source's value is checked, also one that a stronger source overrides: a wrong setting is never silent. */
function settle(key: OptionKey, written: readonly WrittenValues[]): Settled {
  const option: Option<OptionValues[OptionKey]> = OPTIONS[key]
  let settled: Settled = {
    value: option.default,
    origin: { kind: 'default', source: 'default', key },
  }
  for (const values of written) {
    const found = values.get(key)
    if (found === undefined) continue
    settled = { value: readValue(option, found.value, found.origin), origin: found.origin }
  }
  return settled
}

/** Every sequence that runs gets a token in every step, so the one limit must hold the other. */
function checkStepLimits(settled: ReadonlyMap<OptionKey, Settled>): void {
  const tokens = settled.get('engine.maxBatchTokens')
  const sequences = settled.get('engine.maxSequences')
  if (tokens === undefined || sequences === undefined || tokens.value >= sequences.value) return
  const {
    source,
    key,
    place = '',
  } = tokens.origin.kind === 'default' ? sequences.origin : tokens.origin
  throw configError('CONFIG_BAD_VALUE', {
    param: key,
    details: {
      source: `${source}${place}`,
      key: 'engine.maxBatchTokens',
      expected: `at least engine.maxSequences, which is ${sequences.value}`,
      got: String(tokens.value),
      hint: '; raise --max-batch-tokens or lower --max-sequences',
    },
  })
}

/** What is kept on disk is what the prefix cache forgets, and is found through it. */
function checkDiskCache(settled: ReadonlyMap<OptionKey, Settled>): void {
  const disk = settled.get('store.kvDiskCache')
  const prefixCache = settled.get('engine.prefixCache')
  if (disk === undefined || disk.value === 0 || prefixCache?.value !== 'off') return
  const { source, key, place = '' } = disk.origin
  throw configError('CONFIG_BAD_VALUE', {
    param: key,
    details: {
      source: `${source}${place}`,
      key: 'store.kvDiskCache',
      expected: '0, because engine.prefixCache is off',
      got: String(disk.value),
      hint: '; switch --prefix-cache on, or leave --kv-disk-cache out',
    },
  })
}

function defaultHome(
  environment: Readonly<Record<string, string | undefined>>,
): [value: string, text: string, reason: string] {
  const cache = environment.XDG_CACHE_HOME
  // The XDG specification has relative paths ignored.
  if (cache !== undefined && isAbsolute(cache)) {
    const home = join(cache, 'ingot')
    return [home, home, 'XDG_CACHE_HOME']
  }
  const home = join(environment.HOME ?? '/', '.cache', 'ingot')
  return [home, home, 'cache folder of the user']
}

function reasonOf({ kind, source, key }: Origin): string {
  if (kind === 'default') return 'default'
  return kind === 'file' ? `${key} in ${source}` : key
}

function shown(key: OptionKey, value: OptionValues[OptionKey]): string {
  const { kind } = OPTIONS[key]
  if (kind === 'bytes' && typeof value === 'number') return formatBytes(value)
  if (kind === 'secret' && value !== AUTO) return 'set'
  return Array.isArray(value) ? value.join(', ') || 'none' : String(value)
}

function deepFreeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) {
    if (typeof part === 'object' && part !== null) deepFreeze(part)
  }
  return Object.freeze(value)
}
