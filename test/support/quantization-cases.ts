/** Every quantization scheme that is read, as a configuration and a writer of matrices. */

import {
  awq,
  float8,
  gptq,
  packQuantized,
  rowsOf127,
  signedBytes,
  tableOf16,
  type WriteMatrix,
} from './quantized-matrices.ts'

export interface QuantizationCase {
  readonly name: string
  readonly config: Readonly<Record<string, unknown>>
  readonly write: WriteMatrix
  /** Of the projections. */
  readonly format: string
}

function gptqCase(
  bits: 2 | 3 | 4 | 8,
  group: number,
  change: { isV2?: boolean; isShuffled?: boolean; isSymmetric?: boolean; hasOrder?: boolean } = {},
): QuantizationCase {
  const { isV2 = false, isShuffled = false, isSymmetric = false } = change
  const config = {
    quant_method: 'gptq',
    bits,
    group_size: group,
    sym: isSymmetric,
    desc_act: isShuffled,
    damp_percent: 0.01,
    ...(isV2 ? { checkpoint_format: 'gptq_v2' } : {}),
  }
  const name = `GPTQ ${bits} bits, groups of ${group} ${JSON.stringify(change)}`
  return { name, config, write: gptq({ bits, group, ...change }), format: `GPTQ_INT${bits}` }
}

function compressedCase(
  format: string,
  weights: Readonly<Record<string, unknown>>,
  write: WriteMatrix,
  tensorFormat: string,
  activations: object | null = null,
): QuantizationCase {
  const plain = { type: 'int', dynamic: false, symmetric: true, observer: 'minmax' }
  const group = {
    targets: ['Linear'],
    weights: { ...plain, ...weights },
    input_activations: activations,
    output_activations: null,
  }
  const config = {
    quant_method: 'compressed-tensors',
    format,
    quantization_status: 'compressed',
    global_compression_ratio: 1.5,
    kv_cache_scheme: null,
    ignore: ['lm_head', 're:.*router.*'],
    config_groups: { group_0: group },
    sparsity_config: {},
    transform_config: {},
    version: '0.20.1',
  }
  const name = `compressed-tensors ${format} ${JSON.stringify(weights)}`
  return { name, config, write, format: tensorFormat }
}

const PER_TOKEN = {
  num_bits: 8,
  type: 'int',
  symmetric: true,
  strategy: 'token',
  dynamic: true,
  observer: null,
}
const group = 32
const fp8 = { num_bits: 8, type: 'float' }

export const QUANTIZATION_CASES: readonly QuantizationCase[] = [
  ...([2, 3, 4, 8] as const).flatMap((bits) => [
    gptqCase(bits, 32),
    gptqCase(bits, 32, { isShuffled: true, isV2: true }),
  ]),
  gptqCase(4, -1, { isSymmetric: true, hasOrder: false }),
  gptqCase(4, 16, { isShuffled: true }),
  ...(['gemm', 'gemv'] as const).map((version) => ({
    name: `AWQ ${version}`,
    config: { quant_method: 'awq', bits: 4, group_size: 32, zero_point: true, version },
    write: awq(32, version),
    format: 'AWQ_INT4',
  })),
  ...[4, 8].flatMap((bits) => [
    compressedCase(
      'pack-quantized',
      { num_bits: bits, strategy: 'group', group_size: group },
      packQuantized({ bits, group, isSymmetric: true }),
      `CT_INT${bits}`,
    ),
    compressedCase(
      'pack-quantized',
      { num_bits: bits, strategy: 'channel', symmetric: false },
      packQuantized({ bits, group: -1 }),
      `CT_INT${bits}`,
    ),
  ]),
  compressedCase(
    'pack-quantized',
    { num_bits: 4, strategy: 'group', group_size: group, symmetric: false, actorder: 'group' },
    packQuantized({ bits: 4, group, isShuffled: true }),
    'CT_INT4',
  ),
  compressedCase(
    'int-quantized',
    { num_bits: 8, strategy: 'channel' },
    signedBytes({ bits: 8, group: -1, isSymmetric: true }),
    'CT_INT8',
    PER_TOKEN,
  ),
  compressedCase(
    'naive-quantized',
    { num_bits: 4, strategy: 'group', group_size: group, symmetric: false },
    signedBytes({ bits: 4, group }),
    'CT_INT4',
  ),
  compressedCase(
    'float-quantized',
    { ...fp8, strategy: 'tensor' },
    float8('weight_scale', null),
    'CT_FP8',
  ),
  compressedCase(
    'float-quantized',
    { ...fp8, strategy: 'block', block_structure: [32, 32] },
    float8('weight_scale', [32, 32]),
    'CT_FP8',
  ),
  compressedCase(
    'naive-quantized',
    { ...fp8, strategy: 'channel' },
    float8('weight_scale', [1, 1024]),
    'CT_FP8',
  ),
  {
    name: 'fp8 in blocks',
    config: {
      quant_method: 'fp8',
      fmt: 'e4m3',
      activation_scheme: 'dynamic',
      weight_block_size: [64, 32],
      modules_to_not_convert: ['lm_head'],
    },
    write: float8('weight_scale_inv', [64, 32]),
    format: 'FP8',
  },
  {
    name: 'fp8 of tensors',
    config: { quant_method: 'fp8', activation_scheme: 'static' },
    write: float8('weight_scale', null),
    format: 'FP8',
  },
  ...(['nf4', 'fp4'] as const).flatMap((type) =>
    [false, true].map((isNested) => ({
      name: `bitsandbytes ${type}${isNested ? ', nested' : ''}`,
      config: {
        quant_method: 'bitsandbytes',
        load_in_4bit: true,
        load_in_8bit: false,
        bnb_4bit_quant_type: type,
        bnb_4bit_use_double_quant: isNested,
        bnb_4bit_compute_dtype: 'bfloat16',
        bnb_4bit_quant_storage: 'uint8',
        llm_int8_threshold: 6,
      },
      write: tableOf16(type, isNested),
      format: type === 'nf4' ? 'BNB_NF4' : 'BNB_FP4',
    })),
  ),
  {
    name: 'bitsandbytes int8',
    config: { load_in_8bit: true, llm_int8_threshold: 6, llm_int8_skip_modules: ['lm_head'] },
    write: rowsOf127(),
    format: 'BNB_INT8',
  },
]
