/**
 * What a quantized folder will hold, before a byte is computed: which matrices are quantized, which tensors stay, under
 * which names, and with which groups. Pure.
 *
 * O1 Embeddings and the head stay as they are (dense ones exactly, quantized ones in bf16): a small share of the bytes,
 *    and the readers expect no quantized embedding. O2 Vectors keep their type.
 */

import type { Checkpoint, TensorInfo } from '../../checkpoint/checkpoint.ts'
import type { WeightPlan } from '../../graph/plan-weights.ts'
import type { Recipe, StoredTensor } from './compressed-layout.ts'
import { layoutOf } from './compressed-layout.ts'
import { huggingFaceName, rowOrder } from './gguf-llama.ts'

export interface QuantizedOutput {
  readonly tensor: TensorInfo
  /** Weight of the graph that it is a part of, whose inputs are observed. */
  readonly weight: string
  readonly module: string
  readonly size: readonly [rows: number, k: number]
  readonly order: Int32Array | null
}

export interface DenseOutput {
  readonly tensor: TensorInfo
  readonly stored: StoredTensor
  readonly order: Int32Array | null
}

export interface OutputPlan {
  readonly quantized: readonly QuantizedOutput[]
  readonly dense: readonly DenseOutput[]
  readonly stored: readonly StoredTensor[]
  /** Linear modules that stay dense; `quantization_config` names them. */
  readonly ignored: readonly string[]
  readonly numKept: number
}

/** The longest group that divides every matrix's inputs; `null` when not even 32 does. */
export function autoGroup(plan: WeightPlan): 32 | 64 | 128 | null {
  const widths = linearTensors(plan).map(({ tensor }) => tensor.shape[1] ?? 0)
  const groups = [128, 64, 32] as const
  return groups.find((group) => widths.every((width) => width % group === 0)) ?? null
}

export function planOutput(checkpoint: Checkpoint, plan: WeightPlan, recipe: Recipe): OutputPlan {
  const quantized: QuantizedOutput[] = []
  const ignored: string[] = []
  const isQuantized = new Set<string>()
  for (const { tensor, weight } of linearTensors(plan)) {
    const [rows = 0, k = 0] = tensor.shape
    const module = outputName(checkpoint, tensor.name).replace(/\.weight$/, '')
    if (k % recipe.group !== 0 || !tensor.name.endsWith('.weight')) {
      ignored.push(module)
      continue
    }
    const order = checkpoint.kind === 'gguf' ? rowOrder(checkpoint, tensor.name, rows) : null
    quantized.push({ tensor, weight, module, size: [rows, k], order })
    isQuantized.add(tensor.name)
  }
  const rest = [...checkpoint.tensors.values()].filter(({ name }) => !isQuantized.has(name))
  const dense = rest.map((tensor): DenseOutput => {
    const rows = tensor.shape[0] ?? 1
    const order = checkpoint.kind === 'gguf' ? rowOrder(checkpoint, tensor.name, rows) : null
    const name = outputName(checkpoint, tensor.name)
    return { tensor, stored: { name, dtype: denseType(tensor), shape: tensor.shape }, order }
  })
  const matrices = quantized.flatMap(({ module, size }) => layoutOf(module, size, recipe))
  return {
    quantized,
    dense,
    stored: [...matrices, ...dense.map(({ stored }) => stored)],
    ignored: ['lm_head', ...ignored],
    numKept: ignored.length,
  }
}

/** Matrices of the layers, stored `[out, in]`. */
function linearTensors(plan: WeightPlan): { tensor: TensorInfo; weight: string }[] {
  const roles = new Map(plan.tensors.map(({ name, role }) => [name, role]))
  return plan.weights.flatMap((weight) => {
    if (weight.kind !== 'linear' || weight.layout === 'columns') return []
    return weight.tensors
      .filter(({ name, shape }) => roles.get(name) === 'linear' && shape.length === 2)
      .map((tensor) => ({ tensor, weight: weight.name }))
  })
}

function outputName({ kind }: Checkpoint, name: string): string {
  return kind === 'gguf' ? (huggingFaceName(name) ?? name) : name
}

function denseType({ format }: TensorInfo): StoredTensor['dtype'] {
  return format === 'F32' || format === 'F16' ? format : 'BF16'
}
