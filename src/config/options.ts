/**
 * All settings, once. The configuration file's schema, the `INGOT_*` variables, the flags of `ingot serve`, their help
 * and docs/configuration.md are made from this table. Keys are `slice.name`, as in the file.
 */

import Type, { type TSchema } from 'typebox'
import { KV_DTYPES, type KvDtype } from '../base/kv-dtype.ts'
import type { WeightFormat, WeightGroup, WeightSymmetry } from '../base/weights-choice.ts'
import { AUTO, type Option, type OptionKind } from './option.ts'

/** Every key with the type of its value; what each means stands in the table below. */
export interface OptionValues {
  readonly 'model.name': string
  readonly 'model.servedNames': typeof AUTO | readonly string[]
  readonly 'model.draft': string
  readonly 'model.weights': typeof AUTO | WeightFormat
  readonly 'model.weightsHead': typeof AUTO | WeightFormat
  readonly 'model.weightsEmbedding': typeof AUTO | WeightFormat
  readonly 'model.weightsGroup': typeof AUTO | WeightGroup
  readonly 'model.weightsSymmetry': typeof AUTO | WeightSymmetry
  readonly 'model.weightsOverrides': readonly string[]
  readonly 'store.home': string
  readonly 'store.packCache': number
  readonly 'store.kvDiskCache': number
  readonly 'engine.threads': typeof AUTO | number
  readonly 'engine.kvMemory': typeof AUTO | number
  readonly 'engine.swapSpace': typeof AUTO | number
  readonly 'engine.activations': 'int8' | 'bf16' | 'f32'
  readonly 'engine.kvDtype': typeof AUTO | KvDtype
  readonly 'engine.blockSize': 16 | 32 | 64
  readonly 'engine.maxBatchTokens': number
  readonly 'engine.maxSequences': number
  readonly 'engine.maxContext': typeof AUTO | number
  readonly 'engine.prefixCache': 'on' | 'off'
  readonly 'engine.targetItl': typeof AUTO | 'off' | number
  readonly 'engine.draftTokens': number
  readonly 'adapters.modules': readonly string[]
  readonly 'adapters.maxLoras': number
  readonly 'adapters.maxRank': number
  readonly 'adapters.runtimeFolder': string
  readonly 'admission.maxQueue': number
  readonly 'server.host': string
  readonly 'server.port': number
  readonly 'server.gracePeriod': number
  readonly 'server.keepAlive': number
  readonly 'server.maxBody': number
  readonly 'server.adminToken': string
  readonly 'audit.file': string
  readonly 'audit.fsync': 'batch' | 'interval' | 'never'
  readonly 'log.level': LogLevel
}

export type LogLevel = 'silent' | 'error' | 'warn' | 'info' | 'debug' | 'trace'
export type OptionKey = keyof OptionValues

const auto = Type.Literal(AUTO)
const MEBIBYTE = 2 ** 20

interface Words {
  readonly flag: string | null
  readonly env: string
  readonly expected: string
  readonly help: string
}

function option<T>(schema: TSchema, kind: OptionKind, fallback: T, words: Words): Option<T> {
  return { schema, kind, default: fallback, ...words }
}

const integer = (minimum: number, maximum: number) => Type.Integer({ minimum, maximum })
const weightFormat = Type.Union([
  Type.Literal(AUTO),
  Type.Literal('source'),
  Type.Literal('f32'),
  Type.Literal('bf16'),
  Type.Literal('f16'),
  Type.Literal('int8'),
  Type.Literal('int4'),
])
const FORMATS = '"source", "f32", "bf16", "f16", "int8", "int4" or auto'
const override = Type.String({ pattern: '^[^,]+=\\s*(?:source|f32|bf16|f16|int8|int4)$' })
const loraModule = Type.String({ pattern: '^[^,=]+=[^,]+$', maxLength: 4096 })
const name = Type.String({ minLength: 1, maxLength: 200, pattern: '^\\S(?:.*\\S)?$' })

export const OPTIONS: { readonly [K in OptionKey]: Option<OptionValues[K]> } = {
  'model.name': option(Type.String({ minLength: 1 }), 'text', AUTO, {
    flag: null,
    env: 'INGOT_MODEL',
    expected: 'a catalog name, a path or a source (pypi:, hf:, https:, file:)',
    help: 'model to serve; auto = the catalog’s default',
  }),
  'model.servedNames': option(
    Type.Union([auto, Type.Array(name, { minItems: 1, maxItems: 32 })]),
    'names',
    AUTO,
    {
      flag: '--served-model-name <names>',
      env: 'INGOT_SERVED_MODEL_NAME',
      expected: '1 to 32 names with commas between them, or auto',
      help: 'names that requests may use, the first one is the model’s id; auto = catalog name or file name',
    },
  ),
  'model.draft': option(Type.String({ minLength: 1 }), 'text', 'none', {
    flag: '--draft-model <model>',
    env: 'INGOT_DRAFT_MODEL',
    expected: 'a catalog name, a path or a source (pypi:, hf:, https:, file:), or none',
    help: 'smaller model of the same vocabulary that guesses tokens for the model to check; answers stay the same, and its KV comes out of --kv-memory',
  }),
  'model.weights': option(weightFormat, 'text', AUTO, {
    flag: '--weights <format>',
    env: 'INGOT_WEIGHTS',
    expected: FORMATS,
    help: 'format that weights are computed in; source and auto = as the checkpoint stores them. ingot inspect shows what each takes',
  }),
  'model.weightsHead': option(weightFormat, 'text', AUTO, {
    flag: '--weights-head <format>',
    env: 'INGOT_WEIGHTS_HEAD',
    expected: FORMATS,
    help: 'format of the matrix that makes the logits; auto = int8 with int4 weights, else as all',
  }),
  'model.weightsEmbedding': option(weightFormat, 'text', AUTO, {
    flag: '--weights-embedding <format>',
    env: 'INGOT_WEIGHTS_EMBEDDING',
    expected: FORMATS,
    help: 'format of the embedding table; auto = int8 with int4 weights, else as all, and as the head where one table is both',
  }),
  'model.weightsGroup': option(
    Type.Union([
      auto,
      Type.Literal(32),
      Type.Literal(64),
      Type.Literal(128),
      Type.Literal('channel'),
    ]),
    'integer',
    AUTO,
    {
      flag: '--weights-group <number>',
      env: 'INGOT_WEIGHTS_GROUP',
      expected: '32, 64, 128, "channel" or auto',
      help: 'weights that share a scale in int8 and int4, channel = a whole row; auto = 32. More is less exact, and takes no less memory here',
    },
  ),
  'model.weightsSymmetry': option(
    Type.Union([auto, Type.Literal('symmetric'), Type.Literal('asymmetric')]),
    'text',
    AUTO,
    {
      flag: '--weights-symmetry <kind>',
      env: 'INGOT_WEIGHTS_SYMMETRY',
      expected: '"symmetric", "asymmetric" or auto',
      help: 'whether int4 blocks have a scale alone or a minimum too (asymmetric, more exact); int8 is symmetric. auto = asymmetric',
    },
  ),
  'model.weightsOverrides': option(Type.Array(override, { maxItems: 256 }), 'names', [], {
    flag: '--weights-override <list>',
    env: 'INGOT_WEIGHTS_OVERRIDE',
    expected: 'PATTERN=FORMAT with commas between them, such as model.layers.0.*=bf16',
    help: 'formats of single tensors by name; * is any text, ? one character, and the last match wins',
  }),
  'store.home': option(Type.String({ minLength: 1 }), 'text', AUTO, {
    flag: '--home <folder>',
    env: 'INGOT_HOME',
    expected: 'a folder, or auto',
    help: 'where weights and audit records are kept; auto = ingot in the XDG cache folder',
  }),
  'store.packCache': option(integer(0, Number.MAX_SAFE_INTEGER), 'bytes', 32 * 2 ** 30, {
    flag: '--pack-cache <size>',
    env: 'INGOT_PACK_CACHE',
    expected: 'a size such as 32GiB, or 0',
    help: 'disk space in the home folder for weights as kernels read them, so that the next start maps them; what was not used for longest goes first; 0 = none',
  }),
  'store.kvDiskCache': option(integer(0, Number.MAX_SAFE_INTEGER), 'bytes', 0, {
    flag: '--kv-disk-cache <size>',
    env: 'INGOT_KV_DISK_CACHE',
    expected: 'a size such as 4GiB, or 0',
    help: 'disk space in the home folder for keys and values of prompt beginnings that memory has no room for, found again also after a restart, by the same caller only; what was not used for longest goes first; 0 = none. They can be read back into prompts: see docs/kv-disk-cache.md. Never changes an answer',
  }),
  'engine.threads': option(Type.Union([auto, integer(1, 1024)]), 'integer', AUTO, {
    flag: '--threads <number>',
    env: 'INGOT_THREADS',
    expected: 'an integer, 1 to 1024, or auto',
    help: 'compute threads; auto = physical cores that this process may use. Never changes an answer',
  }),
  'engine.kvMemory': option(
    Type.Union([auto, integer(MEBIBYTE, Number.MAX_SAFE_INTEGER)]),
    'bytes',
    AUTO,
    {
      flag: '--kv-memory <size>',
      env: 'INGOT_KV_MEMORY',
      expected: 'a size of at least 1MiB such as 2GiB, or auto',
      help: 'memory for keys and values; auto = a share of the free memory, at most what could ever be used',
    },
  ),
  'engine.swapSpace': option(
    Type.Union([auto, integer(0, Number.MAX_SAFE_INTEGER)]),
    'bytes',
    AUTO,
    {
      flag: '--swap-space <size>',
      env: 'INGOT_SWAP_SPACE',
      expected: 'a size such as 1GiB, 0 or auto',
      help: 'memory for keys and values of sequences that are put out for others, taken when first used; without room there, or where that is quicker, they are computed again; auto = a quarter of --kv-memory; 0 = none. Never changes an answer',
    },
  ),
  'engine.activations': option(
    Type.Union([Type.Literal('int8'), Type.Literal('bf16'), Type.Literal('f32')]),
    'text',
    'int8',
    {
      flag: '--activations <type>',
      env: 'INGOT_ACTIVATIONS',
      expected: '"int8", "bf16" or "f32"',
      help: 'type in which matrix products take activations; int8 is fastest (weights of bf16 take bf16 then, those of f16 and f32 take f32), f32 follows the reference most closely, bf16 rounds as a reference in bf16 does and is as slow as f32 where weights are not bf16',
    },
  ),
  'engine.kvDtype': option(
    Type.Union([auto, ...KV_DTYPES.map((dtype) => Type.Literal(dtype))]),
    'text',
    AUTO,
    {
      flag: '--kv-dtype <type>',
      env: 'INGOT_KV_DTYPE',
      expected: '"f32", "bf16", "f16", "int8" or auto',
      help: 'type in which keys and values are stored; auto = bf16 with int8 activations, f32 with f32; int8 takes about half of bf16 and costs quality',
    },
  ),
  'engine.blockSize': option(
    Type.Union([Type.Literal(16), Type.Literal(32), Type.Literal(64)]),
    'integer',
    32,
    {
      flag: '--block-size <tokens>',
      env: 'INGOT_BLOCK_SIZE',
      expected: '16, 32 or 64',
      help: 'tokens in a block of keys and values',
    },
  ),
  'engine.maxBatchTokens': option(integer(16, 65_536), 'integer', 512, {
    flag: '--max-batch-tokens <number>',
    env: 'INGOT_MAX_BATCH_TOKENS',
    expected: 'an integer, 16 to 65536',
    help: 'tokens computed in one step at most; more = faster prompts, fewer = steadier streams',
  }),
  'engine.maxSequences': option(integer(1, 4096), 'integer', 64, {
    flag: '--max-sequences <number>',
    env: 'INGOT_MAX_SEQUENCES',
    expected: 'an integer, 1 to 4096',
    help: 'sequences that run at once; further ones wait',
  }),
  'engine.maxContext': option(Type.Union([auto, integer(16, 16_777_216)]), 'integer', AUTO, {
    flag: '--max-context <tokens>',
    env: 'INGOT_MAX_CONTEXT',
    expected: 'an integer, at least 16, or auto',
    help: 'longest prompt and answer together; auto = what the checkpoint says',
  }),
  'engine.prefixCache': option(
    Type.Union([Type.Literal('on'), Type.Literal('off')]),
    'text',
    'on',
    {
      flag: '--prefix-cache <on|off>',
      env: 'INGOT_PREFIX_CACHE',
      expected: '"on" or "off"',
      help: 'find keys and values of prompt beginnings that were computed before, within one caller; never changes an answer',
    },
  ),
  'engine.targetItl': option(
    Type.Union([auto, Type.Literal('off'), integer(1, 60_000)]),
    'integer',
    AUTO,
    {
      flag: '--target-itl <ms>',
      env: 'INGOT_TARGET_ITL',
      expected: 'an integer of milliseconds, 1 to 60000, "off" or auto',
      help: 'time between two tokens of a stream that prompts beside it may not exceed; auto = at most twice the time without prompts, or 10 ms; off = whatever a full step takes',
    },
  ),
  'engine.draftTokens': option(integer(0, 64), 'integer', 16, {
    flag: '--draft-tokens <number>',
    env: 'INGOT_DRAFT_TOKENS',
    expected: 'an integer, 0 to 64',
    help: 'tokens guessed for a sequence in one step at most, from text that it repeats or by --draft-model; 0 = none. Never changes an answer',
  }),
  'adapters.modules': option(Type.Array(loraModule, { maxItems: 1024 }), 'names', [], {
    flag: '--lora-modules <list>',
    env: 'INGOT_LORA_MODULES',
    expected: 'NAME=FOLDER with commas between them, such as sql=./sql-adapter',
    help: 'LoRA adapters to load at the start, folders as PEFT saves them; requests name one as model:NAME. ENDPOINT:NAME=FOLDER where several models are served',
  }),
  'adapters.maxLoras': option(integer(1, 1024), 'integer', 8, {
    flag: '--max-loras <number>',
    env: 'INGOT_MAX_LORAS',
    expected: 'an integer, 1 to 1024',
    help: 'LoRA adapters that a model may have loaded at once; each takes the memory of its matrices',
  }),
  'adapters.maxRank': option(integer(1, 4096), 'integer', 64, {
    flag: '--max-lora-rank <number>',
    env: 'INGOT_MAX_LORA_RANK',
    expected: 'an integer, 1 to 4096',
    help: 'largest rank of a LoRA adapter; larger ones are refused',
  }),
  'adapters.runtimeFolder': option(Type.String({ minLength: 1 }), 'text', 'off', {
    flag: '--runtime-lora-folder <folder>',
    env: 'INGOT_RUNTIME_LORA_FOLDER',
    expected: 'a folder, or "off"',
    help: 'folder whose LoRA adapters administrators may load and unload over HTTP while the server runs; off = none',
  }),
  'admission.maxQueue': option(integer(0, 1_000_000), 'integer', 256, {
    flag: '--max-queue <number>',
    env: 'INGOT_MAX_QUEUE',
    expected: 'an integer, 0 to 1000000',
    help: 'sequences that may wait; a request beyond that is refused with 429 and Retry-After',
  }),
  'server.host': option(Type.String({ minLength: 1 }), 'text', '127.0.0.1', {
    flag: '--host <address>',
    env: 'INGOT_HOST',
    expected: 'an address or host name',
    help: 'address to listen on; 0.0.0.0 = every IPv4 address of the machine',
  }),
  'server.port': option(integer(0, 65_535), 'integer', 8000, {
    flag: '--port <number>',
    env: 'INGOT_PORT',
    expected: 'an integer, 0 to 65535',
    help: 'port to listen on; 0 = any free one, which is printed',
  }),
  'server.gracePeriod': option(integer(0, 86_400), 'integer', 30, {
    flag: '--grace-period <seconds>',
    env: 'INGOT_GRACE_PERIOD',
    expected: 'an integer of seconds, 0 to 86400',
    help: 'time for running requests to finish after SIGTERM; then they are cancelled',
  }),
  'server.keepAlive': option(integer(0, 3600), 'integer', 10, {
    flag: '--keep-alive <seconds>',
    env: 'INGOT_KEEP_ALIVE',
    expected: 'an integer of seconds, 0 to 3600',
    help: 'silence in a stream after which a comment is sent, so that proxies keep the connection; 0 = never',
  }),
  'server.maxBody': option(integer(1024, 2 ** 30), 'bytes', 8 * MEBIBYTE, {
    flag: '--max-body <size>',
    env: 'INGOT_MAX_BODY',
    expected: 'a size, 1KiB to 1GiB',
    help: 'largest request body',
  }),
  'server.adminToken': option(
    Type.Union([auto, Type.String({ minLength: 16, maxLength: 512, pattern: '^\\S+$' })]),
    'secret',
    AUTO,
    {
      flag: null,
      env: 'INGOT_ADMIN_TOKEN',
      expected: '16 to 512 characters without spaces, or auto',
      help: 'token that routes and commands ask for which administer endpoints; auto = none, and only programs on the same machine may use them',
    },
  ),
  'audit.file': option(Type.String({ minLength: 1 }), 'text', AUTO, {
    flag: '--audit-log <file>',
    env: 'INGOT_AUDIT_LOG',
    expected: 'a file, or auto',
    help: 'file that gets one record a request; auto = audit/audit.jsonl in the home folder',
  }),
  'audit.fsync': option(
    Type.Union([Type.Literal('batch'), Type.Literal('interval'), Type.Literal('never')]),
    'text',
    'interval',
    {
      flag: '--audit-fsync <policy>',
      env: 'INGOT_AUDIT_FSYNC',
      expected: '"batch", "interval" or "never"',
      help: 'when audit records are forced to the disk: with each batch, within a second, or when the system pleases',
    },
  ),
  'log.level': option(
    Type.Union([
      Type.Literal('silent'),
      Type.Literal('error'),
      Type.Literal('warn'),
      Type.Literal('info'),
      Type.Literal('debug'),
      Type.Literal('trace'),
    ]),
    'text',
    'info',
    {
      flag: '--log-level <level>',
      env: 'INGOT_LOG_LEVEL',
      expected: '"silent", "error", "warn", "info", "debug" or "trace"',
      help: 'how much is logged to standard error; debug adds stacks to errors',
    },
  ),
}

export const OPTION_KEYS: readonly OptionKey[] = Object.keys(OPTIONS) as OptionKey[]

/** Variables of ours that are no settings: where the file is, and what tests tell each other. */
export const CONFIG_FILE_VARIABLE = 'INGOT_CONFIG'
export const TEST_VARIABLE_PREFIX = 'INGOT_TEST_'
