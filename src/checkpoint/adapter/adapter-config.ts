/**
 * `adapter_config.json` of PEFT, as far as it changes what is computed: rank and scale of each module. Everything else it
 * can say is either without effect on an answer, or refused by its key: nothing is read over.
 *
 *   scale = alpha / rank, or alpha / √rank with `use_rslora`; both per module by `rank_pattern` and `alpha_pattern`
 *
 * Source: PEFT 0.17, `LoraConfig` and `get_pattern_key`. Knows no architecture.
 */

import { createHash } from 'node:crypto'
import type { MetadataValue } from '../checkpoint.ts'
import { checkpointError } from '../errors.ts'
import { quote } from '../gguf/metadata.ts'
import { type JsonObject, parseJsonObject } from '../safetensors/json-text.ts'
import { readWhole } from '../safetensors/read-file.ts'

/** What decides how strong a module's delta is. */
export interface AdapterConfig {
  readonly file: string
  /** sha256 of the file, hex. */
  readonly digest: string
  rankOf(module: string): number
  /** What B A x is multiplied with. */
  scaleOf(module: string): number
}

/** Far above any configuration; one that lists every module of a large model has some hundred kilobytes. */
const MAX_CONFIG_BYTES = 4 * 1024 * 1024
const MAX_RANK = 1 << 16

/** How it was trained, or made, or what repeats what the tensors say. */
const WITHOUT_EFFECT: ReadonlySet<string> = new Set([
  'auto_mapping',
  'base_model_name_or_path',
  'eva_config',
  'exclude_modules',
  // How the base stores its matrices; a delta of the outputs is the same.
  'fan_in_fan_out',
  'inference_mode',
  'layers_pattern',
  'layers_to_transform',
  'lora_dropout',
  'megatron_core',
  'peft_version',
  'qalora_group_size',
  'revision',
  'target_modules',
])

/** Read by this file, and refused elsewhere than where they are read. */
const READ: ReadonlySet<string> = new Set([
  'peft_type',
  'task_type',
  'r',
  'lora_alpha',
  'use_rslora',
  'rank_pattern',
  'alpha_pattern',
  'bias',
  'init_lora_weights',
])

/** Ways to begin a training that leave the base's weights as they are. */
const HARMLESS_BEGINNINGS: readonly MetadataValue[] = [true, false, 'gaussian', 'eva', 'orthogonal']

/** @throws ServingError CHECKPOINT_ADAPTER_UNSUPPORTED, CHECKPOINT_ADAPTER_CONFIG, and what the file system can do */
export async function readAdapterConfig(file: string): Promise<AdapterConfig> {
  const bytes = await readWhole(file, MAX_CONFIG_BYTES)
  const json = parseJsonObject(bytes, { file, offset: 0, field: 'adapter configuration' })
  refuseUnsupported(file, json)
  const rank = count(file, json, 'r')
  const alpha = positive(file, 'lora_alpha', json.get('lora_alpha'))
  const isRankStabilised = flag(file, json, 'use_rslora')
  const ranks = patternOf(file, json, 'rank_pattern', wholeRank)
  const alphas = patternOf(file, json, 'alpha_pattern', positive)
  const rankOf = (module: string) => ranks(module) ?? rank
  return {
    file,
    digest: createHash('sha256').update(bytes).digest('hex'),
    rankOf,
    scaleOf: (module) => {
      const own = rankOf(module)
      return (alphas(module) ?? alpha) / (isRankStabilised ? Math.sqrt(own) : own)
    },
  }
}

function refuseUnsupported(file: string, json: JsonObject): void {
  const got = (key: string) => json.get(key)
  if (got('peft_type') !== 'LORA') throw unsupported(file, 'peft_type', got('peft_type'), '"LORA"')
  const task = got('task_type') ?? null
  if (task !== null && task !== 'CAUSAL_LM') {
    throw unsupported(file, 'task_type', task, '"CAUSAL_LM"')
  }
  const bias = got('bias') ?? 'none'
  if (bias !== 'none') throw unsupported(file, 'bias', bias, '"none"')
  const beginning = got('init_lora_weights') ?? true
  if (!HARMLESS_BEGINNINGS.includes(beginning)) {
    const next =
      'it changes the base’s weights too; save the adapter with path_initial_model_for_weight_conversion'
    throw unsupported(file, 'init_lora_weights', beginning, 'true, "gaussian" or "eva"', next)
  }
  for (const [key, value] of json) {
    if (READ.has(key) || WITHOUT_EFFECT.has(key) || isOff(value)) continue
    throw unsupported(file, key, value, 'null, false or empty')
  }
}

function isOff(value: MetadataValue): boolean {
  if (Array.isArray(value)) return value.length === 0
  if (value instanceof Map) return value.size === 0
  return value === null || value === false
}

type Reader = (file: string, key: string, value: MetadataValue | undefined) => number

/** Which member of the object is a module's, as PEFT looks for it: the first whose key is the name's end. */
function patternOf(
  file: string,
  json: JsonObject,
  key: string,
  read: Reader,
): (module: string) => number | null {
  const value = json.get(key) ?? null
  if (value === null) return () => null
  if (!(value instanceof Map)) throw wrong(file, key, 'an object', value)
  const entries = [...value].map(([pattern, member]) => {
    // PEFT takes regular expressions; names alone are understood, and nothing is guessed.
    if (!/^\^?[\w.]+\$?$/.test(pattern)) {
      throw unsupported(file, `${key} ${quote(pattern)}`, pattern, 'a name or its end')
    }
    const name = pattern.replace(/^\^|\$$/g, '')
    const isWhole = pattern.startsWith('^')
    return { name, isWhole, number: read(file, `${key}.${pattern}`, member) }
  })
  return (module) => {
    const found = entries.find(
      ({ name, isWhole }) => module === name || (!isWhole && module.endsWith(`.${name}`)),
    )
    return found?.number ?? null
  }
}

function count(file: string, json: JsonObject, key: string): number {
  return wholeRank(file, key, json.get(key))
}

function wholeRank(file: string, key: string, value: MetadataValue | undefined): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= MAX_RANK) {
    return value
  }
  throw wrong(file, key, `a whole number from 1 to ${MAX_RANK}`, value)
}

function positive(file: string, key: string, value: MetadataValue | undefined): number {
  if (typeof value === 'number' && value > 0 && value < 1e9) return value
  throw wrong(file, key, 'a number above 0', value)
}

function flag(file: string, json: JsonObject, key: string): boolean {
  const value = json.get(key) ?? false
  if (typeof value === 'boolean') return value
  throw wrong(file, key, 'true or false', value)
}

function unsupported(
  file: string,
  key: string,
  value: MetadataValue | undefined,
  expected: string,
  next = 'merge the adapter into its base and serve that, or train it without',
): Error {
  return checkpointError('CHECKPOINT_ADAPTER_UNSUPPORTED', {
    details: { file, key, got: shown(value), expected, next },
  })
}

function wrong(
  file: string,
  key: string,
  expected: string,
  value: MetadataValue | undefined,
): Error {
  return checkpointError('CHECKPOINT_ADAPTER_CONFIG', {
    details: { file, key, expected, got: shown(value) },
  })
}

/** A hostile file's megabyte does not belong in a message. */
function shown(value: MetadataValue | undefined): string {
  if (value === undefined) return 'nothing'
  if (value instanceof Map) return 'an object'
  return Array.isArray(value) ? `a list of ${value.length}` : quote(String(value))
}
