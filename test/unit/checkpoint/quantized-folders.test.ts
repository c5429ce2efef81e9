import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openCheckpoint } from '../../../src/checkpoint/open-checkpoint.ts'
import { caught } from '../../support/caught.ts'
import { QUANTIZATION_CASES, type QuantizationCase } from '../../support/quantization-cases.ts'
import { quantizedFolder } from '../../support/quantized-folder.ts'
import {
  encodeSafetensors,
  type TensorSpec,
  writeModelFolder,
} from '../../support/safetensors-writer.ts'

let root: string
let numFolders = 0

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'ingot-quantized-'))
})
afterAll(() => rm(root, { recursive: true }))

const Q_PROJ = 'model.layers.0.self_attn.q_proj'

interface Change {
  readonly config?: (config: Record<string, unknown>) => void
  /** By the name behind the module of the first projection; `undefined` takes a tensor away. */
  readonly tensors?: Readonly<Record<string, TensorSpec | undefined>>
}

async function write({ config, write }: QuantizationCase, change: Change = {}): Promise<string> {
  const own = structuredClone(config) as Record<string, unknown>
  change.config?.(own)
  const { quantized, tensors } = quantizedFolder(own, write)
  const all: Record<string, TensorSpec> = { ...tensors }
  for (const [part, spec] of Object.entries(change.tensors ?? {})) {
    if (spec === undefined) delete all[`${Q_PROJ}.${part}`]
    else all[`${Q_PROJ}.${part}`] = spec
  }
  numFolders += 1
  const files = { ...quantized, 'model.safetensors': encodeSafetensors(all) }
  return writeModelFolder(join(root, String(numFolders)), files)
}

async function refusal(of: QuantizationCase, change: Change): Promise<string> {
  const error = await caught(openCheckpoint(await write(of, change)))
  expect(error.code).toMatch(/^CHECKPOINT_(QUANTIZ|UNSUPPORTED_TENSOR)/)
  return error.message.replace(`${root}/${numFolders}/`, '')
}

function named(name: string): QuantizationCase {
  return QUANTIZATION_CASES.find((candidate) => candidate.name.startsWith(name))!
}

const set = (key: string, value: unknown): Change => ({
  config: (config) => {
    config[key] = value
  },
})

describe('a quantized folder', () => {
  it.each(QUANTIZATION_CASES)('has the tensors of a dense one: $name', async (of) => {
    const { tensors, quantization, metadata, totalTensorBytes } = await openCheckpoint(
      await write(of),
    )
    const { dense } = quantizedFolder(of.config, of.write)
    const plain = await openCheckpoint(await writeModelFolder(join(root, 'dense'), dense))
    const shapes = (all: typeof tensors) =>
      new Map([...all.values()].map(({ name, shape }) => [name, shape.join()]))
    expect(shapes(tensors)).toEqual(shapes(plain.tensors))
    const formats = [...tensors.values()].map(({ format }) => format)
    expect(new Set(formats)).toEqual(new Set([of.format, 'F32']))
    expect(quantization).toMatch(/GPTQ|AWQ|compressed-tensors|fp8|bitsandbytes/)
    expect(metadata.has('quantization_config')).toBe(false)
    expect(totalTensorBytes).toBeLessThan(plain.totalTensorBytes)
  })

  it('says how it is quantized', async () => {
    const described = async (name: string) =>
      (await openCheckpoint(await write(named(name)))).quantization
    expect(await described('GPTQ 4 bits, groups of 16')).toBe(
      'GPTQ, 4 bits, groups of 16, inputs reordered (desc_act)',
    )
    expect(await described('AWQ gemv')).toBe('AWQ (gemv), 4 bits, groups of 32')
    expect(await described('compressed-tensors int-quantized')).toBe(
      'compressed-tensors: int-quantized int8, a scale a row',
    )
    expect(await described('fp8 in blocks')).toBe('fp8 (E4M3), a scale a block of 64×32')
  })

  it('leaves dense what is not quantized', async () => {
    const { config, write: matrix } = named('GPTQ 4 bits')
    const { quantized } = quantizedFolder(config, matrix, (module) => module.includes('.1.mlp.'))
    const { tensors } = await openCheckpoint(await writeModelFolder(join(root, 'some'), quantized))
    expect(tensors.get('model.layers.1.mlp.up_proj.weight')?.format).toBe('F32')
    expect(tensors.get('model.layers.0.mlp.up_proj.weight')?.format).toBe('GPTQ_INT4')
  })

  it('says which biases beside codes are zeros, that a model without biases may leave out', async () => {
    const biasOf = async (data: Buffer) => {
      const bias = { dtype: 'F16', shape: [64], data }
      const { tensors } = await openCheckpoint(await write(named('GPTQ 4'), { tensors: { bias } }))
      return tensors.get(`${Q_PROJ}.bias`)
    }
    expect(await biasOf(Buffer.alloc(128))).toMatchObject({ format: 'F16', isZeroBias: true })
    expect(await biasOf(Buffer.alloc(128, 1))).not.toHaveProperty('isZeroBias')
  })

  it('may hold E4M3 matrices without a configuration', async () => {
    const weights = encodeSafetensors({ a: { dtype: 'F8_E4M3', shape: [4, 32] } })
    const files = { 'config.json': { model_type: 'llama' }, 'model.safetensors': weights }
    const { tensors } = await openCheckpoint(await writeModelFolder(join(root, 'plain'), files))
    expect(tensors.get('a')).toMatchObject({ format: 'F8_E4M3', shape: [4, 32], byteLength: 128 })
  })
})

describe('a quantization that is not understood is refused by name:', () => {
  it.each<[string, string, Change, string]>([
    [
      'an unknown method',
      'GPTQ 4',
      set('quant_method', 'hqq'),
      'quantization_config.quant_method is "hqq"',
    ],
    ['no method', 'GPTQ 4', set('quant_method', undefined), 'quant_method is absent'],
    ['an unknown member', 'GPTQ 4', set('rotate', true), 'quantization_config.rotate is "true"'],
    ['bits that no kernel has', 'GPTQ 4', set('bits', 5), 'bits is "5"'],
    [
      'another checkpoint format',
      'GPTQ 4',
      set('checkpoint_format', 'marlin'),
      'checkpoint_format is "marlin"',
    ],
    ['words of 64 bits', 'GPTQ 4', set('pack_dtype', 'int64'), 'pack_dtype is "int64"'],
    ['groups of none', 'GPTQ 4', set('group_size', 0), 'group_size is "0"'],
    ['AWQ without zero points', 'AWQ gemm', set('zero_point', false), 'zero_point is "false"'],
    ['AWQ of another layout', 'AWQ gemm', set('version', 'gemv_fast'), 'version is "gemv_fast"'],
    ['AWQ of 8 bits', 'AWQ gemm', set('bits', 8), 'bits is "8"'],
    ['another number format', 'fp8', set('fmt', 'e5m2'), 'fmt is "e5m2"'],
    [
      'a block of one number',
      'fp8',
      set('weight_block_size', [128]),
      'weight_block_size is a list of 1',
    ],
    ['8 and 4 bits', 'bitsandbytes nf4', set('load_in_8bit', true), 'either 4 or 8 bits'],
    [
      'codes in floats',
      'bitsandbytes nf4',
      set('bnb_4bit_quant_storage', 'bfloat16'),
      'bnb_4bit_quant_storage',
    ],
    [
      'quantized KV',
      'compressed-tensors pack',
      set('kv_cache_scheme', { num_bits: 8 }),
      'kv_cache_scheme is an object',
    ],
    [
      'sparse weights',
      'compressed-tensors pack',
      set('sparsity_config', { format: 'sparse-24-bitmask' }),
      'sparsity_config.format',
    ],
    [
      'rotated weights',
      'compressed-tensors pack',
      set('transform_config', { config_groups: { a: {} } }),
      'transform_config.config_groups',
    ],
    [
      'frozen weights',
      'compressed-tensors pack',
      set('quantization_status', 'frozen'),
      'quantization_status is "frozen"',
    ],
    [
      'another format',
      'compressed-tensors pack',
      set('format', 'nvfp4-pack-quantized'),
      'format is "nvfp4-pack-quantized"',
    ],
    [
      'a pattern beyond plain ones',
      'compressed-tensors pack',
      set('ignore', ['re:(?!mlp).*']),
      'plain regular expression',
    ],
    [
      'an ignored module that is quantized',
      'compressed-tensors pack',
      set('ignore', [Q_PROJ]),
      `ignore is "${Q_PROJ}"`,
    ],
    [
      'no group for a module',
      'compressed-tensors pack',
      {
        config: (config) => {
          const groups = config.config_groups as { group_0: { targets: string[] } }
          groups.group_0.targets = ['re:.*mlp.*']
        },
      },
      `none for ${Q_PROJ}`,
    ],
    [
      'an override beyond plain ones',
      'GPTQ 4',
      set('dynamic', { '+:(?=a)': { bits: 8 } }),
      'plain regular expression',
    ],
    [
      'a module that is said to be left out',
      'GPTQ 4',
      set('dynamic', { '-:.*q_proj': {} }),
      `-: for ${Q_PROJ}`,
    ],
  ])('%s', async (_, name, change, expected) => {
    expect(await refusal(named(name), change)).toContain(expected)
  })

  it('a configuration that is no object', async () => {
    const files = {
      'config.json': { model_type: 'llama', quantization_config: 'gptq' },
      'model.safetensors': encodeSafetensors({ a: { shape: [1] } }),
    }
    const error = await caught(openCheckpoint(await writeModelFolder(join(root, 'text'), files)))
    expect(error.code).toBe('CHECKPOINT_QUANTIZATION_UNSUPPORTED')
  })
})

describe('tensors that do not fit the quantization are refused with both shapes:', () => {
  const i32 = (...shape: number[]): TensorSpec => ({ dtype: 'I32', shape })
  it.each<[string, string, Change['tensors'] & object, string]>([
    [
      'no scales',
      'GPTQ 4',
      { scales: undefined },
      `"${Q_PROJ}.scales" as F32 or F16 or BF16 [2, 64], got none`,
    ],
    ['too few scales', 'GPTQ 4', { scales: { shape: [1, 64] } }, '[2, 64], got F32 [1, 64]'],
    ['scales of integers', 'GPTQ 4', { scales: { dtype: 'I8', shape: [2, 64] } }, 'got I8 [2, 64]'],
    ['too few zero points', 'GPTQ 4', { qzeros: i32(2, 7) }, 'I32 [2, 8], got I32 [2, 7]'],
    ['an order of other inputs', 'GPTQ 4', { g_idx: i32(65) }, 'I32 [64], got I32 [65]'],
    ['codes of one dimension', 'GPTQ 4', { qweight: i32(512) }, 'I32 [n, n], got I32 [512]'],
    ['codes of bytes', 'GPTQ 4', { qweight: { dtype: 'U8', shape: [8, 64] } }, 'got U8 [8, 64]'],
    ['codes without inputs', 'GPTQ 4', { qweight: i32(0, 64) }, 'got I32 [0, 64]'],
    [
      'words that are no whole numbers',
      'GPTQ 3',
      { qweight: i32(7, 64) },
      'I32 [6, 64], got I32 [7, 64]',
    ],
    [
      'a second weight',
      'GPTQ 4',
      { weight: { shape: [64, 64] } },
      'as one tensor of this name, got two',
    ],
    ['scales of nothing', 'GPTQ 4', { qweight: undefined }, 'I32 that belongs to none in GPTQ'],
    ['AWQ zero points', 'AWQ gemm', { qzeros: i32(2, 64) }, 'I32 [2, 8], got I32 [2, 64]'],
    ['gemv scales', 'AWQ gemv', { scales: { shape: [64, 2] } }, '[64, 32], got F32 [64, 2]'],
    [
      'no shape',
      'compressed-tensors pack',
      { weight_shape: undefined },
      'I64 or I32 [2], got none',
    ],
    [
      'another shape',
      'compressed-tensors pack',
      { weight_shape: { dtype: 'I32', shape: [2] } },
      'got [0, 0]',
    ],
    [
      'one scale a row of groups',
      'compressed-tensors pack',
      { weight_scale: { shape: [64, 1] } },
      '[64, 2], got F32 [64, 1]',
    ],
    [
      'int8 weights in floats',
      'compressed-tensors int',
      { weight: { shape: [64, 64] } },
      'as I8 [n, n], got F32 [64, 64]',
    ],
    [
      'no block scales',
      'fp8 in blocks',
      { weight_scale_inv: undefined },
      '.weight_scale_inv" as F32',
    ],
    [
      'other blocks',
      'fp8 in blocks',
      { weight_scale_inv: { shape: [2, 2] } },
      '[1, 2], got F32 [2, 2]',
    ],
    [
      'no state',
      'bitsandbytes nf4',
      { 'weight.quant_state.bitsandbytes__nf4': undefined },
      'U8 [n], got none',
    ],
    [
      'a state that is no JSON',
      'bitsandbytes nf4',
      { 'weight.quant_state.bitsandbytes__nf4': { dtype: 'U8', shape: [9] } },
      '',
    ],
    [
      'too few blocks',
      'bitsandbytes nf4',
      { 'weight.absmax': { shape: [63] } },
      '[64], got F32 [63]',
    ],
    [
      'a table of 8',
      'bitsandbytes nf4',
      { 'weight.quant_map': { shape: [8] } },
      '[16], got F32 [8]',
    ],
    ['int8 rows', 'bitsandbytes int8', { SCB: { shape: [63] } }, '[64], got F32 [63]'],
    [
      'a tiled layout',
      'bitsandbytes int8',
      { weight_format: { dtype: 'U8', shape: [1], data: Buffer.from([2]) } },
      '0 (rows), got 2',
    ],
  ])('%s', async (_, name, tensors, expected) => {
    const error = await caught(openCheckpoint(await write(named(name), { tensors })))
    expect(error.code).toMatch(/^CHECKPOINT_(QUANTIZED|UNSUPPORTED_TENSOR|BAD_FIELD)/)
    expect(error.message).toContain(expected)
    expect(error.message).toContain('model.safetensors')
  })
})
