/**
 * Quantized matrices from known integers, in each scheme's own layout, with the weights that they are by definition.
 * Written one field at a time; nothing of the reader under test is used.
 */

import type { TensorSpec } from './safetensors-writer.ts'
import { seededRandom } from './seeded-random.ts'

export interface QuantizedMatrix {
  /** What is stored, by the name behind the module's: `qweight`, `weight.absmax` … */
  readonly tensors: Readonly<Record<string, TensorSpec>>
  /** [outputs, inputs] as f32. */
  readonly values: Float32Array
}

export type WriteMatrix = (outputs: number, inputs: number, seed: number) => QuantizedMatrix

/** Integers, zero points and scales that are exact in f16. */
interface Known {
  readonly q: (output: number, input: number) => number
  readonly z: (output: number, group: number) => number
  readonly s: (output: number, group: number) => number
  readonly groups: number
  readonly groupOf: readonly number[]
}

interface KnownOptions {
  readonly bits: number
  /** Inputs; -1 = all. */
  readonly group: number
  readonly isSymmetric?: boolean
  readonly isShuffled?: boolean
}

function known(outputs: number, inputs: number, seed: number, options: KnownOptions): Known {
  const { bits, group, isSymmetric = false, isShuffled = false } = options
  const random = seededRandom(seed)
  const perGroup = group === -1 ? inputs : group
  const groups = Math.ceil(inputs / perGroup)
  const list = (length: number, make: () => number) => Array.from({ length }, make)
  const numbers = 2 ** bits
  const q = list(outputs * inputs, () => random.below(numbers))
  const z = list(outputs * groups, () => (isSymmetric ? numbers / 2 : random.below(numbers)))
  // Ten significant bits at most, so that they are the same in f16 and f32; small enough for a model to stay sane.
  const s = list(outputs * groups, () => (random.below(900) + 100) / 2 ** 12 / numbers)
  const groupOf = Array.from({ length: inputs }, (_, input) => Math.floor(input / perGroup))
  if (isShuffled) {
    for (let at = inputs - 1; at > 0; at--) {
      const other = random.below(at + 1)
      ;[groupOf[at], groupOf[other]] = [groupOf[other]!, groupOf[at]!]
    }
  }
  return {
    q: (output, input) => q[output * inputs + input]!,
    z: (output, of) => z[output * groups + of]!,
    s: (output, of) => s[output * groups + of]!,
    groups,
    groupOf,
  }
}

function valuesOf(outputs: number, inputs: number, { q, z, s, groupOf }: Known): Float32Array {
  const values = new Float32Array(outputs * inputs)
  for (let output = 0; output < outputs; output++) {
    for (let input = 0; input < inputs; input++) {
      const group = groupOf[input]!
      values[output * inputs + input] = (q(output, input) - z(output, group)) * s(output, group)
    }
  }
  return values
}

/** A stream of bits along each row, in whole words of `wordBytes`. */
function inRows(
  rows: number,
  columns: number,
  bits: number,
  wordBytes: number,
  at: (row: number, column: number) => number,
): Buffer {
  const rowBytes = Math.ceil((columns * bits) / 8 / wordBytes) * wordBytes
  const bytes = Buffer.alloc(rows * rowBytes)
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      for (let bit = 0; bit < bits; bit++) {
        if (((at(row, column) >> bit) & 1) === 0) continue
        const place = column * bits + bit
        const byte = row * rowBytes + Math.floor(place / 8)
        bytes[byte] = bytes[byte]! | (1 << (place % 8))
      }
    }
  }
  return bytes
}

/** Streams of bits down the columns, through words of 32 bits. */
function downColumns(
  rows: number,
  columns: number,
  bits: number,
  at: (row: number, column: number) => number,
): Buffer {
  const words = Math.ceil((rows * bits) / 32)
  const flipped = inRows(columns, rows, bits, 4, (column, row) => at(row, column))
  const bytes = Buffer.alloc(words * columns * 4)
  for (let word = 0; word < words; word++) {
    for (let column = 0; column < columns; column++) {
      const from = (column * words + word) * 4
      flipped.copy(bytes, (word * columns + column) * 4, from, from + 4)
    }
  }
  return bytes
}

function grid(rows: number, columns: number, at: (row: number, column: number) => number) {
  return Array.from({ length: rows * columns }, (_, i) => at(Math.floor(i / columns), i % columns))
}

export function floats(values: ArrayLike<number>): Buffer {
  return Buffer.from(Float32Array.from(values).buffer)
}

/** Positive, normal, of eleven significant bits at most. */
function halves(values: readonly number[]): Buffer {
  const long = floats(values)
  const bytes = Buffer.alloc(2 * values.length)
  for (let at = 0; at < values.length; at++) {
    bytes.writeUInt16LE((long.readUInt32LE(4 * at) - 0x3800_0000) >>> 13, 2 * at)
  }
  return bytes
}

function words(values: readonly number[]): Buffer {
  return Buffer.from(Int32Array.from(values).buffer)
}

export function gptq(
  options: KnownOptions & { readonly isV2?: boolean; readonly hasOrder?: boolean },
): WriteMatrix {
  return (outputs, inputs, seed) => {
    const { bits, isV2 = false, hasOrder = true } = options
    const all = known(outputs, inputs, seed, options)
    const { groups } = all
    const stored = (zero: number) => (isV2 ? zero : (zero - 1 + 2 ** bits) % 2 ** bits)
    const tensors: Record<string, TensorSpec> = {
      qweight: {
        dtype: 'I32',
        shape: [(inputs * bits) / 32, outputs],
        data: downColumns(inputs, outputs, bits, (input, output) => all.q(output, input)),
      },
      qzeros: {
        dtype: 'I32',
        shape: [groups, Math.ceil((outputs * bits) / 32)],
        data: inRows(groups, outputs, bits, 4, (group, output) => stored(all.z(output, group))),
      },
      scales: {
        dtype: 'F16',
        shape: [groups, outputs],
        data: halves(grid(groups, outputs, (group, output) => all.s(output, group))),
      },
    }
    if (hasOrder) tensors.g_idx = { dtype: 'I32', shape: [inputs], data: words(all.groupOf) }
    return { tensors, values: valuesOf(outputs, inputs, all) }
  }
}

export function awq(group: number, layout: 'gemm' | 'gemv'): WriteMatrix {
  return (outputs, inputs, seed) => {
    const all = known(outputs, inputs, seed, { bits: 4, group })
    const { groups } = all
    const values = valuesOf(outputs, inputs, all)
    if (layout === 'gemm') {
      const order = [0, 2, 4, 6, 1, 3, 5, 7]
      const of = (place: number) => place - (place % 8) + order[place % 8]!
      const data = (rows: number, at: (output: number, row: number) => number) =>
        inRows(rows, outputs, 4, 4, (row, place) => at(of(place), row))
      const scales = halves(grid(groups, outputs, (row, output) => all.s(output, row)))
      const tensors = {
        qweight: { dtype: 'I32', shape: [inputs, outputs / 8], data: data(inputs, all.q) },
        qzeros: { dtype: 'I32', shape: [groups, outputs / 8], data: data(groups, all.z) },
        scales: { dtype: 'F16', shape: [groups, outputs], data: scales },
      }
      return { tensors, values }
    }
    // Groups of 32: whole sets of four words.
    const zeroWords = Math.ceil(Math.ceil(groups / 8) / 4) * 4
    const none = (at: (output: number, group: number) => number) => (output: number, of: number) =>
      of < groups ? at(output, of) : 0
    const scales = grid(outputs, zeroWords * 8, none(all.s))
    const tensors = {
      qweight: {
        dtype: 'I32',
        shape: [outputs, inputs / 8],
        data: inRows(outputs, inputs, 4, 4, all.q),
      },
      qzeros: {
        dtype: 'I32',
        shape: [outputs, zeroWords],
        data: inRows(outputs, zeroWords * 8, 4, 4, none(all.z)),
      },
      scales: { dtype: 'F32', shape: [outputs, zeroWords * 8], data: floats(scales) },
    }
    return { tensors, values }
  }
}

/** compressed-tensors, `pack-quantized`. */
export function packQuantized(options: KnownOptions): WriteMatrix {
  return (outputs, inputs, seed) => {
    const { bits, isSymmetric = false, isShuffled = false } = options
    const all = known(outputs, inputs, seed, options)
    const { groups } = all
    const shape = Buffer.from(BigInt64Array.from([BigInt(outputs), BigInt(inputs)]).buffer)
    const tensors: Record<string, TensorSpec> = {
      weight_packed: {
        dtype: 'I32',
        shape: [outputs, Math.ceil((inputs * bits) / 32)],
        data: inRows(outputs, inputs, bits, 4, all.q),
      },
      weight_scale: {
        dtype: 'F32',
        shape: [outputs, groups],
        data: floats(grid(outputs, groups, all.s)),
      },
      weight_shape: { dtype: 'I64', shape: [2], data: shape },
    }
    if (!isSymmetric) {
      tensors.weight_zero_point = {
        dtype: 'I32',
        shape: [Math.ceil((outputs * bits) / 32), groups],
        data: downColumns(outputs, groups, bits, all.z),
      }
    }
    if (isShuffled) {
      tensors.weight_g_idx = { dtype: 'I32', shape: [inputs], data: words(all.groupOf) }
    }
    return { tensors, values: valuesOf(outputs, inputs, all) }
  }
}

/** Signed bytes: compressed-tensors' `int-quantized` and `naive-quantized`. */
export function signedBytes(options: KnownOptions): WriteMatrix {
  return (outputs, inputs, seed) => {
    const all = known(outputs, inputs, seed, options)
    const { groups } = all
    const centre = 2 ** (options.bits - 1)
    const signed = (rows: number, columns: number, at: (row: number, column: number) => number) =>
      Buffer.from(Int8Array.from(grid(rows, columns, (r, c) => at(r, c) - centre)).buffer)
    const tensors: Record<string, TensorSpec> = {
      weight: { dtype: 'I8', shape: [outputs, inputs], data: signed(outputs, inputs, all.q) },
      weight_scale: {
        dtype: 'F32',
        shape: [outputs, groups],
        data: floats(grid(outputs, groups, all.s)),
      },
    }
    if (options.isSymmetric !== true) {
      const data = signed(outputs, groups, all.z)
      tensors.weight_zero_point = { dtype: 'I8', shape: [outputs, groups], data }
    }
    return { tensors, values: valuesOf(outputs, inputs, all) }
  }
}

function e4m3(code: number): number {
  const [exponent, fraction] = [(code >> 3) & 15, code & 7]
  const size = exponent === 0 ? (fraction / 8) * 2 ** -6 : (1 + fraction / 8) * 2 ** (exponent - 7)
  return code < 128 ? size : -size
}

/** @param block - outputs and inputs that share a scale; `null` = the whole tensor */
export function float8(name: string, block: readonly [number, number] | null): WriteMatrix {
  return (outputs, inputs, seed) => {
    const random = seededRandom(seed)
    const [rows, columns] = block ?? [outputs, inputs]
    const shape = [Math.ceil(outputs / rows), Math.ceil(inputs / columns)] as const
    const scales = Float32Array.from({ length: shape[0] * shape[1] }, () => random.next() / 2000)
    // Without the two codes that are no numbers, and the largest ones.
    const code = () => random.below(0x70) + 128 * random.below(2)
    const codes = Uint8Array.from({ length: outputs * inputs }, code)
    const values = Float32Array.from(codes, (stored, at) => {
      const row = Math.floor(at / inputs / rows)
      return e4m3(stored) * scales[row * shape[1] + Math.floor((at % inputs) / columns)]!
    })
    const scaleShape = block === null ? [1] : shape
    const tensors = {
      weight: { dtype: 'F8_E4M3', shape: [outputs, inputs], data: Buffer.from(codes) },
      [name]: { dtype: 'F32', shape: scaleShape, data: floats(scales) },
    }
    return { tensors, values }
  }
}

/** bitsandbytes' 4 bits: a table of 16, blocks of 64 of the matrix read as one row. */
export function tableOf16(type: 'nf4' | 'fp4', isNested: boolean): WriteMatrix {
  return (outputs, inputs, seed) => {
    const random = seededRandom(seed)
    const table = Float32Array.from({ length: 16 }, (_, at) => (at - 7.3) / 8)
    const codes = Uint8Array.from({ length: outputs * inputs }, () => random.below(16))
    const packed = Buffer.alloc(codes.length / 2)
    for (let at = 0; at < packed.length; at++) {
      packed[at] = (codes[2 * at]! << 4) | codes[2 * at + 1]!
    }
    const blocks = Math.ceil(codes.length / 64)
    const nestedTable = Float32Array.from({ length: 256 }, (_, at) => (at - 127) / 128)
    const nestedScales = Float32Array.from({ length: Math.ceil(blocks / 256) }, () => 0.05)
    const scaleCodes = Uint8Array.from({ length: blocks }, () => random.below(256))
    const offset = Math.fround(0.07)
    const scales = Float32Array.from({ length: blocks }, (_, at) => {
      if (!isNested) return random.next() / 8
      const product = Math.fround(nestedTable[scaleCodes[at]!]! * nestedScales[at >> 8]!)
      return product + offset
    })
    const values = Float32Array.from(codes, (code, at) => table[code]! * scales[at >> 6]!)
    const state = { quant_type: type, blocksize: 64, dtype: 'float16', shape: [outputs, inputs] }
    const nested = { nested_blocksize: 256, nested_dtype: 'float32', nested_offset: offset }
    const json = Buffer.from(JSON.stringify(isNested ? { ...state, ...nested } : state))
    const tensors: Record<string, TensorSpec> = {
      weight: { dtype: 'U8', shape: [packed.length, 1], data: packed },
      'weight.absmax': isNested
        ? { dtype: 'U8', shape: [blocks], data: Buffer.from(scaleCodes) }
        : { dtype: 'F32', shape: [blocks], data: floats(scales) },
      'weight.quant_map': { dtype: 'F32', shape: [16], data: floats(table) },
      [`weight.quant_state.bitsandbytes__${type}`]: {
        dtype: 'U8',
        shape: [json.length],
        data: json,
      },
    }
    if (isNested) {
      tensors['weight.nested_absmax'] = {
        dtype: 'F32',
        shape: [nestedScales.length],
        data: floats(nestedScales),
      }
      tensors['weight.nested_quant_map'] = {
        dtype: 'F32',
        shape: [256],
        data: floats(nestedTable),
      }
    }
    return { tensors, values }
  }
}

/** bitsandbytes' int8: the largest of each row is 127. */
export function rowsOf127(): WriteMatrix {
  return (outputs, inputs, seed) => {
    const random = seededRandom(seed)
    const largest = Float32Array.from({ length: outputs }, () => random.next() / 4)
    const codes = Int8Array.from({ length: outputs * inputs }, () => random.below(255) - 127)
    const values = Float32Array.from(codes, (code, at) => {
      return code * Math.fround(largest[Math.floor(at / inputs)]! / 127)
    })
    const tensors = {
      weight: { dtype: 'I8', shape: [outputs, inputs], data: Buffer.from(codes.buffer) },
      SCB: { dtype: 'F32', shape: [outputs], data: floats(largest) },
      weight_format: { dtype: 'U8', shape: [], data: Buffer.from([0]) },
    }
    return { tensors, values }
  }
}
