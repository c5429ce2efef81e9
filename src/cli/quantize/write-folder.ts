/**
 * Writes the weights of a quantized folder: matrices in groups whose inputs are observed together, then what stays. Memory
 * is bounded by one matrix and by the second moments of one group.
 */

import type { NativeBinding, NativeQuantizedMatrix } from '../../../native/binding.ts'
import type { NativeExecutor } from '../../execution/native-executor.ts'
import { nativeWeight } from '../../execution/native-weights.ts'
import { type Calibration, observeInputs } from './calibration.ts'
import { bf16, layoutOf, packMatrix, type Recipe } from './compressed-layout.ts'
import type { DenseOutput, OutputPlan, QuantizedOutput } from './output-plan.ts'
import type { TensorFile } from './tensor-file.ts'

export interface WriteOptions {
  readonly native: Pick<NativeBinding, 'readWeight' | 'quantizeWeight'>
  readonly file: TensorFile
  readonly plan: OutputPlan
  readonly recipe: Recipe
  /** `null` = rounding to nearest. */
  readonly gptq: { readonly executor: NativeExecutor; readonly calibration: Calibration } | null
  readonly threads: number
  readonly signal: AbortSignal
  onProgress(fraction: number): void
}

/** Second moments that are summed in one pass over the text; a single matrix may take more. */
const MOMENTS_BYTES = 256 * 2 ** 20

export async function writeWeights(options: WriteOptions): Promise<void> {
  const { plan, gptq, signal, onProgress } = options
  const numAll = plan.quantized.length + plan.dense.length
  let numDone = 0
  for (const group of groupsOf(plan.quantized)) {
    if (gptq !== null) {
      const names = [...new Set(group.map(({ weight }) => weight))]
      await observeInputs(gptq.executor, names, gptq.calibration.windows, signal)
    }
    for (const output of group) {
      signal.throwIfAborted()
      await writeQuantized(output, options)
      onProgress(++numDone / numAll)
    }
    gptq?.executor.observe([])
  }
  for (const output of plan.dense) {
    signal.throwIfAborted()
    await writeDense(output, options)
    onProgress(++numDone / numAll)
  }
}

function groupsOf(outputs: readonly QuantizedOutput[]): readonly QuantizedOutput[][] {
  const groups: QuantizedOutput[][] = []
  let bytes = Number.POSITIVE_INFINITY
  let last = ''
  for (const output of outputs) {
    // Parts of one weight have the same inputs.
    const more = output.weight === last ? 0 : output.size[1] ** 2 * 4
    if (more > 0 && bytes + more > MOMENTS_BYTES) {
      groups.push([])
      bytes = 0
    }
    bytes += more
    last = output.weight
    groups.at(-1)?.push(output)
  }
  return groups
}

async function writeQuantized(output: QuantizedOutput, options: WriteOptions): Promise<void> {
  const { native, file, recipe, gptq, threads } = options
  const { tensor, weight, size, order, module } = output
  const source = nativeWeight({ name: tensor.name, kind: 'linear', tensors: [tensor] })
  const quantized = await native.quantizeWeight(source, {
    ...recipe,
    searchesScale: gptq !== null,
    threads,
    ...(gptq === null ? {} : { moments: gptq.executor.moments(weight) }),
  })
  const ordered = order === null ? quantized : reordered(quantized, order)
  const buffers = packMatrix(ordered, size, recipe)
  for (const [index, { name }] of layoutOf(module, size, recipe).entries()) {
    await file.write(name, buffers[index] ?? new Uint8Array())
  }
}

async function writeDense(output: DenseOutput, { native, file }: WriteOptions): Promise<void> {
  const { tensor, stored, order } = output
  // Whatever its shape, its values are read as one row, or row by row where the rows move or have blocks.
  const isMatrix = tensor.shape.length === 2
  const kind = isMatrix ? 'linear' : 'vector'
  const shape = isMatrix ? tensor.shape : [tensor.shape.reduce((product, n) => product * n, 1)]
  const source = nativeWeight({ name: tensor.name, kind, tensors: [{ ...tensor, shape }] })
  const values = await native.readWeight(source)
  const ordered = order === null ? values : rowsOf(values, order, values.length / order.length)
  await file.write(stored.name, encoded(ordered, stored.dtype))
}

function encoded(values: Float32Array, dtype: string): Buffer {
  if (dtype === 'F32') return Buffer.from(values.buffer, values.byteOffset, values.byteLength)
  return dtype === 'F16' ? f16(values) : bf16(values)
}

/** Of values that were f16 before, so that nothing is rounded. */
function f16(values: Float32Array): Buffer {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length)
  const out = new Uint16Array(values.length)
  for (let at = 0; at < out.length; at++) {
    const word = words[at] ?? 0
    const sign = (word >>> 16) & 0x8000
    const exponent = ((word >>> 23) & 0xff) - 112
    const fraction = word & 0x7f_ffff
    if (exponent >= 143) out[at] = sign | 0x7c00 | (fraction >>> 13)
    else if (exponent > 0) out[at] = sign | (exponent << 10) | (fraction >>> 13)
    else out[at] = sign | (exponent < -10 ? 0 : (fraction | 0x80_0000) >>> (14 - exponent))
  }
  return Buffer.from(out.buffer)
}

function reordered(matrix: NativeQuantizedMatrix, order: Int32Array): NativeQuantizedMatrix {
  const numRows = order.length
  return {
    codes: rowsOf(matrix.codes, order, matrix.codes.length / numRows),
    scales: rowsOf(matrix.scales, order, matrix.scales.length / numRows),
    zeros: rowsOf(matrix.zeros, order, matrix.zeros.length / numRows),
  }
}

function rowsOf<T extends Uint8Array | Float32Array>(rows: T, order: Int32Array, width: number): T {
  const out = rows.slice() as T
  for (const [place, row] of order.entries()) {
    out.set(rows.subarray(row * width, (row + 1) * width), place * width)
  }
  return out
}
