import { describe, expect, it } from 'vitest'
import { ServingError } from '../../../src/base/errors.ts'
import { SOURCE_WEIGHTS } from '../../../src/base/weights-choice.ts'
import type { Hardware } from '../../../src/config/hardware.ts'
import { OPTION_KEYS, type OptionKey } from '../../../src/config/options.ts'
import { resolveConfig } from '../../../src/config/resolve-config.ts'
import type { RuntimeConfig } from '../../../src/config/runtime-config.ts'
import {
  changedKeys,
  valuesOfEnvironment,
  valuesOfFile,
  valuesOfFlags,
} from '../../../src/config/sources.ts'

const hardware: Hardware = {
  numPhysicalCores: 6,
  coresReason: '6 physical cores among the 12 CPUs that the process may use',
  totalMemoryBytes: 16 * 2 ** 30,
  freeMemoryBytes: 8 * 2 ** 30,
  memoryReason: 'free memory',
}

interface Written {
  readonly file?: unknown
  readonly env?: Record<string, string>
  readonly flags?: Partial<Record<OptionKey, unknown>>
}

function resolve({ file = {}, env = {}, flags = {} }: Written = {}): RuntimeConfig {
  const environment = { HOME: '/home/ada', ...env }
  return resolveConfig({
    written: [
      valuesOfFile({ path: 'ingot.json', text: JSON.stringify(file) }),
      valuesOfEnvironment(environment),
      valuesOfFlags(flags),
    ],
    hardware,
    environment,
    folder: '/srv',
  })
}

function failure(written: Written): { code: string; message: string; param: string | undefined } {
  try {
    resolve(written)
  } catch (error) {
    if (!(error instanceof ServingError)) throw error
    return { code: error.code, message: error.message, param: error.param }
  }
  throw new Error('expected a ServingError')
}

describe('resolveConfig', () => {
  it('gives whole defaults, and a reason for every value', () => {
    const { choices, ...slices } = resolve()
    expect({ ...slices, store: slices.store.packs }).toEqual({
      model: { name: null, servedNames: null, draft: null, weights: SOURCE_WEIGHTS },
      store: { folder: '/home/ada/.cache/ingot/packed', limitBytes: 32 * 2 ** 30 },
      engine: {
        threads: 6,
        kvMemoryBytes: null,
        swapBytes: null,
        activations: 'int8',
        kvDtype: 'bf16',
        blockSize: 32,
        maxNumBatchedTokens: 512,
        maxNumSeqs: 64,
        maxContextTokens: null,
        scheduling: { prefixCache: true, targetItl: 'auto', maxDraftTokens: 16 },
      },
      adapters: { modules: [], maxLoras: 8, maxRank: 64, runtimeFolder: null },
      admission: { maxQueuedSequences: 256 },
      server: {
        host: '127.0.0.1',
        port: 8000,
        gracePeriodMs: 30_000,
        keepAliveMs: 10_000,
        maxBodyBytes: 8 * 2 ** 20,
        adminToken: null,
      },
      audit: { file: '/home/ada/.cache/ingot/audit/audit.jsonl', fsync: 'interval' },
      log: { level: 'info' },
    })
    expect(choices.map(({ key }) => key)).toEqual(OPTION_KEYS)
    expect(choices.filter(({ reason }) => reason === '')).toEqual([])
    expect(choices.find(({ key }) => key === 'engine.threads')).toEqual({
      key: 'engine.threads',
      value: '6',
      reason: hardware.coresReason,
      origin: 'auto',
    })
  })

  it('lets the environment win over the file, and flags over both', () => {
    const file = { server: { port: 1, host: 'a' }, engine: { threads: 1 } }
    const env = { INGOT_PORT: '2', INGOT_THREADS: '2' }
    const config = resolve({ file, env, flags: { 'server.port': '3' } })
    expect(config.server).toMatchObject({ port: 3, host: 'a' })
    expect(config.engine.threads).toBe(2)
    const reasons = new Map(config.choices.map(({ key, reason }) => [key, reason]))
    expect(reasons.get('server.port')).toBe('--port')
    expect(reasons.get('engine.threads')).toBe('INGOT_THREADS')
    expect(reasons.get('server.host')).toBe('server.host in ingot.json')
  })

  it('reads the weights that are wanted, with exceptions by name', () => {
    const flags = {
      'model.weights': 'int4',
      'model.weightsHead': 'int8',
      'model.weightsGroup': 'channel',
      'model.weightsSymmetry': 'symmetric',
      'model.weightsOverrides': 'model.layers.0.*=bf16, *.down_proj.weight=source',
    }
    expect(resolve({ flags }).model.weights).toEqual({
      format: 'int4',
      head: 'int8',
      embedding: null,
      group: 'channel',
      symmetry: 'symmetric',
      overrides: [
        { pattern: 'model.layers.0.*', format: 'bf16' },
        { pattern: '*.down_proj.weight', format: 'source' },
      ],
    })
    expect(resolve({ flags: { 'model.weightsGroup': '64' } }).model.weights.group).toBe(64)
  })

  it('keeps the admin token out of what is shown, in choices and in refusals', () => {
    const token = 'f3a9-7c51-0b2e-44d8'
    const config = resolve({ env: { INGOT_ADMIN_TOKEN: token } })
    expect(config.server.adminToken).toBe(token)
    expect(config.choices.find(({ key }) => key === 'server.adminToken')).toEqual({
      key: 'server.adminToken',
      value: 'set',
      reason: 'INGOT_ADMIN_TOKEN',
      origin: 'env',
    })
    const { code, message } = failure({ env: { INGOT_ADMIN_TOKEN: 'too-short' } })
    expect(code).toBe('CONFIG_BAD_VALUE')
    expect(message).not.toContain('too-short')
  })

  it('is frozen through and through', () => {
    const config = resolve()
    expect(Object.isFrozen(config) && Object.isFrozen(config.engine)).toBe(true)
    expect(config.choices.every((choice) => Object.isFrozen(choice))).toBe(true)
  })

  it('stores keys and values in f32 when f32 activations are asked for', () => {
    const { engine } = resolve({ flags: { 'engine.activations': 'f32' } })
    expect(engine.kvDtype).toBe('f32')
  })

  it('takes adapters as names with folders, which paths from the working folder are', () => {
    const { adapters } = resolve({
      flags: {
        'adapters.modules': 'sql=./a, chat:law=/b=c',
        'adapters.runtimeFolder': 'loras',
        'adapters.maxLoras': '3',
      },
    })
    expect(adapters).toEqual({
      modules: [
        { name: 'sql', folder: '/srv/a' },
        { name: 'chat:law', folder: '/b=c' },
      ],
      maxLoras: 3,
      maxRank: 64,
      runtimeFolder: '/srv/loras',
    })
    expect(failure({ flags: { 'adapters.modules': './a' } }).message).toContain('NAME=FOLDER')
  })

  it('takes paths from the working folder and an absolute XDG_CACHE_HOME', () => {
    expect(resolve({ env: { XDG_CACHE_HOME: '/big' } }).store.home).toBe('/big/ingot')
    expect(resolve({ env: { XDG_CACHE_HOME: 'big' } }).store.home).toBe('/home/ada/.cache/ingot')
    expect(resolve({ env: { INGOT_HOME: 'w' } }).store.home).toBe('/srv/w')
    expect(resolve({ flags: { 'audit.file': 'a.jsonl' } }).audit.file).toBe('/srv/a.jsonl')
  })

  it.each([
    ['2GiB', 2 * 2 ** 30],
    ['2g', 2 * 2 ** 30],
    ['1.5GB', 1.5e9],
    ['1048576', 1_048_576],
    ['512 MiB', 512 * 2 ** 20],
  ])('reads %s as a size', (text, bytes) => {
    expect(resolve({ flags: { 'engine.kvMemory': text } }).engine.kvMemoryBytes).toBe(bytes)
  })

  it.each([
    [{ env: { INGOT_PORT: '65536' } }, 'INGOT_PORT', 'environment'],
    [{ env: { INGOT_PORT: '80a' } }, 'INGOT_PORT', 'environment'],
    [{ file: { server: { port: '0x50' } } }, 'server.port', 'ingot.json:1:19'],
    [{ file: { server: { port: 1.5 } } }, 'server.port', 'ingot.json:1:19'],
    [{ flags: { 'engine.threads': '0' } }, '--threads', 'command line'],
    [{ flags: { 'engine.kvMemory': '1KiB' } }, '--kv-memory', 'command line'],
    [{ flags: { 'engine.kvMemory': '2XB' } }, '--kv-memory', 'command line'],
    [{ flags: { 'engine.activations': 'int4' } }, '--activations', 'command line'],
    [{ flags: { 'model.weights': 'q4' } }, '--weights', 'command line'],
    [{ flags: { 'model.weightsGroup': '48' } }, '--weights-group', 'command line'],
    [{ flags: { 'model.weightsOverrides': 'a.*=int3' } }, '--weights-override', 'command line'],
    [{ flags: { 'model.weightsOverrides': '=int4' } }, '--weights-override', 'command line'],
    [{ flags: { 'model.servedNames': 'a,,b' } }, '--served-model-name', 'command line'],
  ])('refuses %j with its source and key', (written, param, source) => {
    const error = failure(written)
    expect(error).toMatchObject({ code: 'CONFIG_BAD_VALUE', param })
    expect(error.message).toContain(`${source}: expected ${param} to be `)
  })

  it('refuses a bad value even where a stronger source overrides it', () => {
    const written = { env: { INGOT_PORT: 'x' }, flags: { 'server.port': '1' } }
    expect(failure(written).param).toBe('INGOT_PORT')
  })

  it.each([
    [{ env: { INGOT_PROT: '1' } }, 'INGOT_PROT'],
    [{ file: { sever: { port: 1 } } }, 'sever'],
    [{ file: { server: { prot: 1 } } }, 'server.prot'],
    [{ file: { server: { toString: 1 } } }, 'server.toString'],
  ])('refuses the unknown name in %j', (written, param) => {
    expect(failure(written)).toMatchObject({ code: 'CONFIG_UNKNOWN_KEY', param })
  })

  it('refuses a disk cache without the prefix cache that fills it, naming both settings', () => {
    const flags = { 'store.kvDiskCache': '1GiB', 'engine.prefixCache': 'off' }
    expect(failure({ flags }).message).toContain(
      'expected store.kvDiskCache to be 0, because engine.prefixCache is off, got 1073741824; switch --prefix-cache on, or leave --kv-disk-cache out',
    )
    expect(resolve({ flags: { 'engine.prefixCache': 'off' } }).store.kvDisk.limitBytes).toBe(0)
  })

  it('refuses fewer tokens a step than sequences, naming both settings', () => {
    const hint = 'raise --max-batch-tokens or lower --max-sequences'
    expect(failure({ flags: { 'engine.maxBatchTokens': '32' } })).toMatchObject({
      code: 'CONFIG_BAD_VALUE',
      message: expect.stringContaining(
        `at least engine.maxSequences, which is 64, got 32; ${hint}`,
      ),
    })
    expect(failure({ flags: { 'engine.maxSequences': '1024' } }).message).toContain(
      `at least engine.maxSequences, which is 1024, got 512; ${hint}`,
    )
  })

  it('names the setting that was probably meant', () => {
    expect(failure({ env: { INGOT_KVMEMORY: '1GiB' } }).message).toContain('INGOT_KV_MEMORY')
    expect(failure({ file: { engine: { max_sequences: 1 } } }).message).toContain(
      'engine.maxSequences',
    )
  })

  it('says what Kubernetes does when INGOT_PORT is an address, and ignores its other variables', () => {
    const { message } = failure({ env: { INGOT_PORT: 'tcp://10.0.0.1:80' } })
    expect(message).toContain('enableServiceLinks')
    const env = { INGOT_SERVICE_HOST: '10.0.0.1', INGOT_PORT_80_TCP: 'tcp://10.0.0.1:80' }
    expect(resolve({ env }).server.port).toBe(8000)
  })

  it.each([
    ['[]', '1:1'],
    ['{"server": 1}', '1:12'],
    ['{', '1:2'],
    ['null', '1:1'],
  ])('refuses %s as a file', (text, place) => {
    expect(() => valuesOfFile({ path: 'ingot.json', text })).toThrow(
      `ingot.json:${place}: expected YAML or JSON`,
    )
  })

  it('reads the same settings from YAML', () => {
    const text = 'server:\n  port: 8001\nengine: {kvMemory: 1GiB, prefixCache: off}\n'
    expect(plainValues(text)).toEqual(
      plainValues(
        '{"server": {"port": 8001}, "engine": {"kvMemory": "1GiB", "prefixCache": "off"}}',
      ),
    )
  })

  it('leaves to others what a file declares besides settings', () => {
    expect(plainValues('pool: {}\nendpoints: {a: {model: b}}\naliases: {c: a}\n')).toEqual([])
  })
})

it('settings that a running server cannot take are found by what is written, not where', () => {
  const values = (text: string) => valuesOfFile({ path: 'f', text })
  const before = values('server: {port: 1, host: a}\nlog: {level: info}\n')
  expect(changedKeys(before, values('log:\n  level: info\nserver: {host: a, port: 1}'))).toEqual([])
  expect(
    changedKeys(before, values('server: {port: 2}\nlog: {level: info}\naudit: {file: x}')),
  ).toEqual(['server.port', 'server.host', 'audit.file'])
})

function plainValues(text: string): unknown[] {
  return [...valuesOfFile({ path: 'f', text })].map(([key, { value }]) => [key, value])
}
