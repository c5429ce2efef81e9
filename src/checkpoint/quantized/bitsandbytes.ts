/**
 * bitsandbytes: nf4 and fp4 (QLoRA, arXiv:2305.14314) and int8 (LLM.int8, arXiv:2208.07339).
 *
 *   4 bits  M.weight U8 [outputs · inputs / 2, 1]         codes of the matrix read as one row, the first in the high half
 *           M.weight.absmax                               a scale for each `blocksize` weights: F32, or U8 when nested
 *           M.weight.quant_map F32 [16]
 *           M.weight.nested_absmax F32, nested_quant_map F32 [256]
 *           M.weight.quant_state.bitsandbytes__nf4 U8     JSON: quant_type, blocksize, shape, dtype, nested_*
 *   8 bits  M.weight I8 [outputs, inputs]                 M.SCB F32 [outputs]: the largest of a row, which is 127
 *           M.weight_format U8: 0 = row
 *
 * `llm_int8_threshold` and compute dtypes say how others multiply; the weights are the same.
 * Source: bitsandbytes 0.50.2, `functional.QuantState` and `nn/modules.Linear8bitLt`.
 */

import { parseJsonObject } from '../safetensors/json-text.ts'
import type { Companions } from './companions.ts'
import { quantizedTensorError } from './companions.ts'
import type { Members } from './members.ts'
import { moduleOf, type QuantizedWeight, type ReadBytes, type Scheme } from './scheme.ts'
import {
  gridScales,
  PLAIN_FIELDS,
  type StoredScales,
  type StoredTensor,
} from './stored-quantization.ts'

/** How others compute, and which modules are left dense, which their tensors say. */
const NOT_OF_WEIGHTS: readonly string[] = [
  'bnb_4bit_compute_dtype',
  'bnb_4bit_quant_type',
  'bnb_4bit_use_double_quant',
  'llm_int8_enable_fp32_cpu_offload',
  'llm_int8_skip_modules',
  'llm_int8_threshold',
  'quant_method',
]
const MAX_STATE_BYTES = 65_536

export function readBitsAndBytes(members: Members): Scheme {
  const isFour = members.flag('load_in_4bit', members.flag('_load_in_4bit', false))
  const isEight = members.flag('load_in_8bit', members.flag('_load_in_8bit', false))
  if (isFour === isEight) throw members.refusal('load_in_4bit', isFour, 'either 4 or 8 bits')
  members.flag('_load_in_4bit', false)
  members.flag('_load_in_8bit', false)
  members.choice('bnb_4bit_quant_storage', ['uint8'], 'uint8')
  members.neutral('llm_int8_has_fp16_weight', [false])
  members.refuseOthers(NOT_OF_WEIGHTS)
  return {
    description: isFour ? 'bitsandbytes, 4 bits' : 'bitsandbytes, int8, a scale a row',
    weightOf(tensor, companions, read) {
      const module = moduleOf(tensor.name, '.weight')
      if (module === null) return null
      if (isFour)
        return companions.has(`${tensor.name}.absmax`) ? four(tensor, companions, read) : null
      return companions.has(`${module}.SCB`) ? eight(module, tensor, companions, read) : null
    },
  }
}

async function eight(
  module: string,
  codes: StoredTensor,
  companions: Companions,
  read: ReadBytes,
): Promise<QuantizedWeight> {
  companions.take(codes.name, codes, { dtypes: ['I8'], shapes: [[null, null]] })
  const [outputs = 0, inputs = 0] = codes.shape
  const largest = { dtypes: ['F32'], shapes: [[outputs]] }
  const scales = companions.take(`${module}.SCB`, codes, largest)
  const wanted = { dtypes: ['U8'], shapes: [[], [1]] }
  const layout = companions.optional(`${module}.weight_format`, wanted)
  const kind = layout === undefined ? 0 : (await read(layout, 1))[0]
  if (layout !== undefined && kind !== 0) {
    throw quantizedTensorError(layout.file, layout.name, '0 (rows)', String(kind))
  }
  return {
    name: codes.name,
    format: 'BNB_INT8',
    shape: [outputs, inputs],
    quantization: {
      codes: { ...PLAIN_FIELDS, tensor: codes, bits: 8, isSigned: true },
      values: 'integers',
      zeros: null,
      table: null,
      scales: gridScales(scales, 1, { divisor: 127 }),
      group: inputs,
      groupOfInput: null,
    },
  }
}

interface State {
  readonly type: 'nf4' | 'fp4'
  readonly shape: readonly [outputs: number, inputs: number]
  readonly block: number
  readonly nested: { readonly block: number; readonly offset: number } | null
}

async function four(
  codes: StoredTensor,
  companions: Companions,
  read: ReadBytes,
): Promise<QuantizedWeight> {
  const { type, shape, block, nested } = await readState(codes, companions, read)
  const [outputs, inputs] = shape
  const weights = outputs * inputs
  // The last byte would hold one weight of a row and one of the next.
  const bytes = inputs % 2 === 0 ? weights / 2 : 0
  companions.take(codes.name, codes, { dtypes: ['U8'], shapes: [[bytes, 1], [bytes]] })
  const take = (name: string, dtype: string, length: number) =>
    companions.take(`${codes.name}.${name}`, codes, { dtypes: [dtype], shapes: [[length]] })
  const table = take('quant_map', 'F32', 16)
  const numScales = Math.ceil(weights / block)
  const scales: StoredScales = {
    ...gridScales(take('absmax', nested === null ? 'F32' : 'U8', numScales), 1),
    layout: 'flat',
    block,
    nested: nested && {
      table: take('nested_quant_map', 'F32', 256),
      scales: take('nested_absmax', 'F32', Math.ceil(numScales / nested.block)),
      ...nested,
    },
  }
  return {
    name: codes.name,
    format: type === 'nf4' ? 'BNB_NF4' : 'BNB_FP4',
    shape,
    quantization: {
      codes: { ...PLAIN_FIELDS, tensor: codes, bits: 4, order: 'high-first' },
      values: 'table',
      zeros: null,
      table,
      scales,
      group: inGroups(inputs, block),
      groupOfInput: null,
    },
  }
}

/** Inputs that surely share a scale, where blocks of the whole matrix may begin anywhere in a row. */
function inGroups(inputs: number, block: number): number {
  if (inputs % block === 0) return block
  return inputs % 32 === 0 && block % 32 === 0 ? 32 : 1
}

async function readState(
  codes: StoredTensor,
  companions: Companions,
  read: ReadBytes,
): Promise<State> {
  const prefix = `${codes.name}.quant_state.bitsandbytes__`
  const type = companions.has(`${prefix}fp4`) ? 'fp4' : 'nf4'
  const wanted = { dtypes: ['U8'], shapes: [[null]] }
  const stored = companions.take(`${prefix}${type}`, codes, wanted)
  const { file, offset, name } = stored
  const bytes = await read(stored, MAX_STATE_BYTES)
  const state = parseJsonObject(bytes, { file, offset, field: `tensor ${name}` })
  const refuse = (key: string, expected: string): Error =>
    quantizedTensorError(
      file,
      name,
      `${key} to be ${expected}`,
      String(state.get(key)).slice(0, 80),
    )
  const count = (key: string): number => {
    const value = state.get(key)
    if (Number.isSafeInteger(value) && (value as number) > 0) return value as number
    throw refuse(key, 'a whole number above 0')
  }
  if (state.get('quant_type') !== type) throw refuse('quant_type', type)
  const shape = state.get('shape')
  const isExtent = (extent: unknown): extent is number =>
    Number.isInteger(extent) && (extent as number) > 0 && (extent as number) < 2 ** 31
  if (!Array.isArray(shape) || shape.length !== 2 || !shape.every(isExtent)) {
    throw refuse('shape', 'two whole numbers')
  }
  const [outputs = 0, inputs = 0] = shape as number[]
  const block = count('blocksize')
  if (!state.has('nested_blocksize')) return { type, shape: [outputs, inputs], block, nested: null }
  const nestedBlock = count('nested_blocksize')
  const nestedOffset = state.get('nested_offset')
  if (typeof nestedOffset !== 'number') throw refuse('nested_offset', 'a number')
  const nested = { block: nestedBlock, offset: nestedOffset }
  return { type, shape: [outputs, inputs], block, nested }
}
